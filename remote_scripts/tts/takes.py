"""Spoken chunks, kept on the volume: a retry or a redo speaks only what is not there yet."""

from __future__ import annotations

import hashlib
import json
import os
import time
import wave
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tts import encoding
from worker import report

if TYPE_CHECKING:
    from tts.joining import Samples
else:
    Samples = Any

FOLDER = "takes"
DAY_S = 86_400.0


def key(*parts: object) -> str:
    """The name of a take: a digest of everything that it was made from."""
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()


def kept(folder: Path, name: str) -> tuple[Samples, int] | None:
    """The take and its rate; None when it is not there or was not written whole."""
    path = _path(folder, name)
    try:
        found = encoding.read_wav(path)
        os.utime(path)
    except (OSError, EOFError, ValueError, wave.Error):
        return None
    return found


def keep(folder: Path, name: str, samples: Samples, rate: int) -> None:
    """Writes a take. A volume that is full keeps nothing, and the job goes on."""
    path = _path(folder, name)
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        report.refuse_when_simulated_full()
        path.parent.mkdir(parents=True, exist_ok=True)
        encoding.write_wav(samples, rate, part)
        part.replace(path)
    except OSError as error:
        report.log(f"a chunk cannot be kept for a retry: {error}", "warning")
    finally:
        part.unlink(missing_ok=True)


def clean(folder: Path, days: float) -> int:
    """Removes files of ours that nobody used for so many days; how many."""
    limit, count = time.time() - days * DAY_S, 0
    for path in [*folder.glob("*"), *folder.glob(f"{FOLDER}/*/*")]:
        try:
            if path.is_symlink() or not path.is_file() or path.stat().st_mtime > limit:
                continue
            path.unlink()
            count += 1
        except OSError:  # another worker on this volume was first
            continue
    return count


def _path(folder: Path, name: str) -> Path:
    return folder / FOLDER / name[:2] / f"{name}.wav"
