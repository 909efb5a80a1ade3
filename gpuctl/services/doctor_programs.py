"""Checks of the programs that parts of gpuctl call: ffmpeg for sound and film, a container engine.

None of them is needed by everybody, so a missing one is a warning that says what it is for.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from gpuctl.errors import GpuctlError
from gpuctl.services.doctor import Bench, Check
from gpuctl.services.findings import Finding, ok, warn

SOUND = ("ffmpeg", "ffprobe")
SOUND_REMEDY = "apt install ffmpeg   # macOS: brew install ffmpeg"


def sound_and_film(_: Bench) -> Sequence[Finding]:
    missing = [program for program in SOUND if shutil.which(program) is None]
    if missing:
        why = "not here; transcribe, tts and video need it"
        return [warn("ffmpeg", f"{' and '.join(missing)}: {why}", SOUND_REMEDY)]
    return [ok("ffmpeg", "here, for sound and film")]


def container_engine(bench: Bench) -> Sequence[Finding]:
    from gpuctl.images import detection  # noqa: PLC0415  asks programs; only for the doctor

    try:
        engine = detection.engine(bench.settings.text("images.engine"))
    except GpuctlError as error:
        return [warn("images", f"{error.message}; build and push need it", error.hint)]
    return [ok("images", f"{engine.title} builds and pushes")]


CHECKS = (Check("ffmpeg", sound_and_film, 5.0), Check("images", container_engine, 20.0))
