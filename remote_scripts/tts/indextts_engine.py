"""The real engine: IndexTTS 2 or 2.5, loaded once per process and called by keyword alone.

Both classes are called IndexTTS2, and their constructors and `infer` differ (workloads.md §1.2).
"""

from __future__ import annotations

import inspect
import os
import random
import time
from typing import TYPE_CHECKING, Any

from tts.config import Config
from tts.engine import Delivery
from worker import report
from worker.report import Failure

if TYPE_CHECKING:
    from tts.joining import Samples
else:
    Samples = Any

MODULES = {"2": "indextts.infer_v2", "2.5": "indextts.infer_v2_5"}
V2_LANGUAGES = ("EN", "ZH")
_resident: dict[tuple[object, ...], Any] = {}


class IndexTtsEngine:
    """One job's view of the resident model."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._model: Any = None

    @property
    def name(self) -> str:
        return f"indextts-{self._config.version}"

    @property
    def has_speed(self) -> bool:
        return self._config.version == "2.5"

    def identity(self) -> str:
        config = self._config
        return (
            f"{self.name} {config.checkpoints_dir} {config.use_fp16} {config.use_deepspeed} "
            + str(config.max_tokens_per_segment)
        )

    def load(self) -> float:
        """Seconds of loading. Raises Failure (model_missing, unsupported)."""
        key = self._key()
        if key not in _resident:
            started = time.monotonic()
            unload()
            report.loading("model", f"IndexTTS {self._config.version} from {key[1]}")
            _resident[key] = self._make()
            self._model = _resident[key]
            return time.monotonic() - started
        self._model = _resident[key]
        return 0.0

    def preface(self) -> None:
        return None

    def say(self, text: str, delivery: Delivery, seed: int) -> tuple[Samples, int]:
        import numpy as np

        _seed_everything(seed)
        answer = self._model.infer(**self.arguments(text, delivery))
        if answer is None:
            raise Failure(
                "failed", f"the model said nothing to {text[:60]!r}", "try another --seed"
            )
        rate, samples = answer
        mono = np.asarray(samples).reshape(-1)
        if mono.dtype == np.int16:
            return mono.astype(np.float32) / 32768.0, int(rate)
        return mono.astype(np.float32), int(rate)

    def arguments(self, text: str, delivery: Delivery) -> dict[str, Any]:
        """What `infer` of this version is called with, all of it by keyword."""
        emotion = delivery.emotion_voice
        given: dict[str, Any] = {
            "spk_audio_prompt": str(delivery.voice.path),
            "text": text,
            "output_path": None,
            "emo_audio_prompt": str(emotion.path) if emotion else None,
            "emo_alpha": delivery.emo_alpha,
            "emo_vector": list(delivery.emo_vector) if delivery.emo_vector else None,
            "use_emo_text": delivery.emo_text is not None,
            "emo_text": delivery.emo_text,
            "max_text_tokens_per_segment": self._config.max_tokens_per_segment,
        }
        if self._config.version == "2.5":
            given |= {"lang": delivery.lang, "duration_factor": 1.0 / delivery.speed}
        return given

    def facts(self) -> dict[str, Any]:
        import torch

        has_gpu = torch.cuda.is_available()
        return {
            "gpu": torch.cuda.get_device_name(0) if has_gpu else "cpu",
            "device": "cuda" if has_gpu else "cpu",
            "peak_vram_bytes": torch.cuda.max_memory_allocated() if has_gpu else 0,
            "torch": torch.__version__,
        }

    def switches(self) -> dict[str, Any]:
        """What the constructor of this version is called with, before it is asked what it knows."""
        config = self._config
        half = "use_fp16" if config.version == "2" else "use_bf16"
        return {
            "cfg_path": str(config.checkpoints_dir / "config.yaml"),
            "model_dir": str(config.checkpoints_dir),
            half: config.use_fp16,
            "use_cuda_kernel": config.use_cuda_kernel,
            "use_deepspeed": config.use_deepspeed,
            "use_qwen_emo": config.use_qwen_emo,
        }

    def _make(self) -> Any:
        config = self._config
        if not (config.checkpoints_dir / "config.yaml").is_file():
            raise Failure(
                "model_missing",
                f"no model in {config.checkpoints_dir}",
                "run remote_scripts/tts/bootstrap.sh on the machine, or set CHECKPOINTS_DIR",
            )
        if config.source_dir.is_dir():
            # The module names its cache relative to the current folder, as it is imported.
            os.chdir(config.source_dir)
        try:
            kind = __import__(MODULES[config.version], fromlist=["IndexTTS2"]).IndexTTS2
        except ImportError as error:
            raise Failure(
                "unsupported",
                f"IndexTTS {config.version} is not installed: {error}",
                "run remote_scripts/tts/bootstrap.sh on the machine",
            ) from error
        return kind(**_known(kind, self.switches()))

    def _key(self) -> tuple[object, ...]:
        return tuple(sorted((name, str(value)) for name, value in self.switches().items()))


def check_language(lang: str, version: str) -> None:
    """Raises Failure (unsupported)."""
    if version == "2" and lang not in V2_LANGUAGES:
        raise Failure(
            "unsupported", f"IndexTTS 2 does not speak {lang}", "set INDEXTTS_VERSION=2.5 there"
        )


def unload() -> None:
    """Frees the GPU; the next job loads again."""
    if not _resident:
        return
    _resident.clear()
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def is_loaded() -> bool:
    return bool(_resident)


def _known(kind: Any, wanted: dict[str, Any]) -> dict[str, Any]:
    """The switches this tag's constructor has; one that is lost is said when it was asked for."""
    parameters = inspect.signature(kind).parameters
    for name in wanted.keys() - parameters.keys():
        if wanted[name]:
            report.log(f"this version of IndexTTS has no {name}", "warning")
    return {name: value for name, value in wanted.items() if name in parameters}


def _seed_everything(seed: int) -> None:
    """`infer` always samples and takes no seed (workloads.md §1.2)."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(seed)
