"""A clip of somebody's voice: looked over, and made into what the model reads. Needs ffmpeg."""

from __future__ import annotations

import array
import hashlib
import math
import shutil
import subprocess
import sys
import tempfile
import wave
from dataclasses import dataclass
from pathlib import Path

from gpuctl.errors import MissingDependency, NotFound, ValidationFailed

# The model hears the first 15 s; 5 to 15 s of clean speech are right (workloads.md §1.5).
USED_S = 15.0
SHORTEST_S, SHORT_S, LONGEST_S = 1.0, 3.0, 600.0
LEAST_RATE, GOOD_RATE = 8_000, 16_000
SILENT_DB, QUIET_DB = -50.0, -26.0
CLIPPED_SHARE, PAUSE_SHARE = 0.001, 0.6
MAX_BYTES = 200_000_000
_FRAME_S = 0.05
_FULL = 32767
_LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Clip:
    """What is known of a clip. `duration_s` is all of it; levels in dB below full scale."""

    duration_s: float
    rate: int
    peak_db: float
    clipped_share: float
    pause_share: float

    def warnings(self) -> list[str]:
        """What makes a clone worse than it could be, each with what to do."""
        found = []
        if self.duration_s > USED_S:
            found.append(f"only the first {USED_S:g} of {self.duration_s:.0f} s are used")
        if self.duration_s < SHORT_S:
            found.append(f"{self.duration_s:.1f} s are short; 5 to 15 s sound more like the person")
        if self.clipped_share > CLIPPED_SHARE:
            found.append(f"{self.clipped_share:.1%} of it is clipped: record it at a lower level")
        if self.peak_db < QUIET_DB:
            found.append(f"it is quiet ({self.peak_db:.0f} dB): noise will be cloned with it")
        if self.pause_share > PAUSE_SHARE:
            found.append(f"{self.pause_share:.0%} of it is silence: cut the pauses out")
        if self.rate < GOOD_RATE:
            found.append(f"{self.rate} Hz is telephone quality; 16000 Hz or more is better")
        return found


@dataclass(frozen=True, slots=True)
class Reference:
    """The converted file, under a name made from its content."""

    file: Path
    digest: str
    clip: Clip


def convert(source: Path, folder: Path) -> Reference:
    """Checks `source` and puts it into `folder` as mono 16-bit WAV of at most 15 s.

    Raises NotFound, ValidationFailed for what cannot be a voice, MissingDependency.
    """
    duration_s, rate = _probe(source)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        part = Path(scratch) / "voice.wav"
        clip = _converted(source, part, duration_s, rate)
        digest = sha256(part)
        target = folder / f"{digest}.wav"
        part.replace(target)
    return Reference(target, digest, clip)


def examine(source: Path) -> Clip:
    """The same checks; nothing is kept. Raises as `convert` does."""
    duration_s, rate = _probe(source)
    with tempfile.TemporaryDirectory() as scratch:
        return _converted(source, Path(scratch) / "voice.wav", duration_s, rate)


def sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _probe(source: Path) -> tuple[float, int]:
    """Length in seconds and samples per second, of the first sound in it."""
    if not source.is_file():
        raise NotFound(f"there is no file {source}", hint="gpuctl voices list")
    if source.stat().st_size > MAX_BYTES:
        raise _refused(source, f"has {source.stat().st_size // 1_000_000} MB")
    show = ["-show_entries", "stream=sample_rate:format=duration", "-of", "default=nk=1:nw=1"]
    said = _run("ffprobe", ["-select_streams", "a:0", *show, f"file:{source}"], source).split()
    try:
        rate, duration_s = int(said[0]), float(said[1])
    except (IndexError, ValueError) as error:
        raise _refused(source, "holds no sound") from error
    if duration_s < SHORTEST_S:
        raise _refused(source, f"lasts {duration_s:.1f} s")
    if duration_s > LONGEST_S:
        raise _refused(source, f"lasts {duration_s / 60:.0f} minutes")
    if rate < LEAST_RATE:
        raise _refused(source, f"has {rate} samples per second")
    return duration_s, rate


def _converted(source: Path, part: Path, duration_s: float, rate: int) -> Clip:
    cut = ["-t", f"{USED_S:g}", "-vn", "-ac", "1", "-ar", str(min(rate, 48_000))]
    out = ["-c:a", "pcm_s16le", "-map_metadata", "-1", "-bitexact", "-f", "wav", f"file:{part}"]
    _run("ffmpeg", ["-nostdin", "-y", "-i", f"file:{source}", *cut, *out], source)
    with wave.open(str(part), "rb") as sound:
        samples = array.array("h", sound.readframes(sound.getnframes()))
        frame = max(1, round(sound.getframerate() * _FRAME_S))
    if sys.byteorder == "big":
        samples.byteswap()
    if not samples:
        raise _refused(source, "holds no sound")
    clip = _measured(samples, frame, duration_s, rate)
    if clip.peak_db < SILENT_DB:
        raise _refused(source, "is silent")
    return clip


def _measured(samples: array.array[int], frame: int, duration_s: float, rate: int) -> Clip:
    peaks = [_peak(samples[at : at + frame]) for at in range(0, len(samples), frame)]
    loudest = max(peaks)
    pauses = sum(1 for peak in peaks if _decibels(peak) < max(SILENT_DB, _decibels(loudest) - 40))
    clipped = samples.count(_FULL) + samples.count(-_FULL - 1) + samples.count(-_FULL)
    return Clip(
        duration_s=round(duration_s, 2),
        rate=rate,
        peak_db=round(_decibels(loudest), 1),
        clipped_share=clipped / len(samples),
        pause_share=pauses / len(peaks),
    )


def _peak(samples: array.array[int]) -> int:
    return max(max(samples), -min(samples))


def _decibels(level: int) -> float:
    return 20 * math.log10(max(level, 1) / _FULL)


def _run(program: str, arguments: list[str], source: Path) -> str:
    found = shutil.which(program)
    if found is None:
        raise MissingDependency(
            f"{program} is needed to look at a voice, and is not installed",
            hint="apt install ffmpeg   (macOS: brew install ffmpeg)",
        )
    argv = [found, "-v", "error", *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    if done.returncode:
        raise _refused(source, "cannot be read as sound")
    return done.stdout


def _refused(source: Path, why: str) -> ValidationFailed:
    return ValidationFailed(
        f"{source.name} {why}, so it cannot be a voice",
        hint=f"take 5 to 15 s of clean speech, e.g. ffmpeg -ss 10 -t 12 -i {source.name} me.wav",
    )
