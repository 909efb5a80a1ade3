"""Voices by name: confined to their folder, and given to the model under a name by content."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tts import encoding
from tts.config import Config
from worker import report
from worker.fields import bad_input
from worker.report import Failure, confine, measure

SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac")
SENT_WITH_JOB = "inputs/"
DEFAULT = "default"
# Nobody's voice, made of tones: what tries a machine must not need anybody's consent.
TONE = "builtin:tone"
TONE_S, TONE_RATE = 6.0, 22_050
# The model cuts it there itself (workloads.md §1.5); much more is a recording, not a voice.
USED_S = 15.0
SHORTEST_S = 1.0
LONGEST_S = 600.0
SILENT_PEAK = 10 ** (-50 / 20)
MAX_BYTES = 100_000_000


@dataclass(frozen=True)
class Voice:
    """A reference the model may read. `digest`: sha256 of what the operator gave."""

    name: str
    path: Path
    digest: str


def prepare(name: str | None, field: str, config: Config) -> Voice:
    """The voice called `name`. Raises Failure (bad_input)."""
    if name == TONE:
        return _tone(config)
    source = find(name or DEFAULT, field, config)
    size, digest = measure(source)
    if not size:
        raise bad_input(f"{field}: {source.name} is empty", "send 5 to 15 s of clean speech")
    if size > MAX_BYTES:
        raise bad_input(
            f"{field}: {source.name} has {size} bytes", f"at most {MAX_BYTES} are taken"
        )
    # The model keeps what it heard by the path's text: another sound needs another path.
    target = config.voices_dir / ".by-content" / f"{digest}.wav"
    if not target.is_file():
        _convert(source, target, field)
    return Voice(name or DEFAULT, target, digest)


def find(name: str, field: str, config: Config) -> Path:
    """The file of a voice: sent along with the job, or in the voices' folder; suffix optional."""
    if name.startswith(SENT_WITH_JOB):
        path = report.inside_workspace(name)
        if not path.is_file():
            raise bad_input(f"{field}: {name} did not arrive", "submit the job again")
        return path
    for candidate in (name, *(f"{name}{suffix}" for suffix in SUFFIXES)):
        path = _confined(config.voices_dir, candidate, field)
        if path.is_file():
            return path
    known = ", ".join(available(config)[:10]) or "none yet"
    if name == DEFAULT:
        raise bad_input(f"{field} is missing, and there is no voice `default`", f"there: {known}")
    raise bad_input(f"{field}: there is no voice {name!r}", f"in {config.voices_dir}: {known}")


def available(config: Config) -> list[str]:
    """Names of the voices in their folder, without suffix."""
    if not config.voices_dir.is_dir():
        return []
    files = (path for path in config.voices_dir.iterdir() if path.suffix.lower() in SUFFIXES)
    return sorted({path.stem for path in files})


def _tone(config: Config) -> Voice:
    import numpy as np

    target = config.voices_dir / ".by-content" / "tone.wav"
    if not target.is_file():
        moments = np.arange(round(TONE_S * TONE_RATE)) / TONE_RATE
        tone = sum(np.sin(2 * np.pi * 140 * k * moments) / k for k in range(1, 9))
        syllables = 0.55 + 0.45 * np.sin(2 * np.pi * 4 * moments)
        with report.disk_full_named():
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_suffix(f".{os.getpid()}.part")
            encoding.write_wav((0.15 * tone * syllables).astype(np.float32), TONE_RATE, part)
            part.replace(target)
    return Voice(TONE, target, "tone")


def _confined(folder: Path, name: str, field: str) -> Path:
    try:
        return confine(folder, name)
    except Failure as failure:
        raise bad_input(
            f"{field}: {name!r} is not inside the voices' folder",
            "name a file in it, without `..` and without links that lead outside",
        ) from failure


def _convert(source: Path, target: Path, field: str) -> None:
    seconds = encoding.duration_s(source)
    if seconds is not None and seconds > LONGEST_S:
        raise bad_input(
            f"{field}: {source.name} lasts {seconds / 60:.0f} minutes",
            "cut 5 to 15 s of clean speech out of it",
        )
    if seconds is not None and seconds > USED_S:
        report.log(f"{field}: the first {USED_S:g} of {seconds:.0f} s are used", "warning")
    with report.disk_full_named():
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(suffix=".part", dir=target.parent)
    os.close(handle)
    try:
        encoding.to_reference(source, Path(part), limit_s=USED_S)
        _check(Path(part), source.name, field)
        Path(part).replace(target)
    finally:
        Path(part).unlink(missing_ok=True)


def _check(part: Path, name: str, field: str) -> None:
    import numpy as np

    samples, rate = encoding.read_wav(part)
    if len(samples) < SHORTEST_S * rate:
        raise bad_input(
            f"{field}: {name} lasts {len(samples) / rate:.1f} s", "send 5 to 15 s of clean speech"
        )
    if float(np.abs(samples).max()) < SILENT_PEAK:
        raise bad_input(f"{field}: {name} is silent", "send 5 to 15 s of clean speech")
