"""The two questions that WhisperLive asks torch, answered by ctranslate2: 2.5 GB less in an image.

WhisperLive imports torch, but with the faster-whisper backend uses it for one thing: is there a
GPU, and of which generation. Diarization does need the real one, and then it is installed.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from types import ModuleType, SimpleNamespace


def stand_in_unless_installed() -> bool:
    """True when the stand-in took its place."""
    if importlib.util.find_spec("torch") is not None:
        return False
    module = ModuleType("torch")
    module.__spec__ = importlib.machinery.ModuleSpec("torch", None)
    module.__dict__["cuda"] = SimpleNamespace(
        is_available=has_gpu, get_device_capability=capability, empty_cache=lambda: None
    )
    sys.modules["torch"] = module
    return True


def has_gpu() -> bool:
    import ctranslate2

    return bool(ctranslate2.get_cuda_device_count())


def capability(_device: object = None) -> tuple[int, int]:
    """7 from the generation on that computes in float16, which is all that is asked."""
    import ctranslate2

    return (7, 0) if "float16" in ctranslate2.get_supported_compute_types("cuda") else (6, 0)
