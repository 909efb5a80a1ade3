"""Sound in and out of files: ffmpeg for everything but plain WAV."""

from __future__ import annotations

import shutil
import subprocess
import wave
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worker.report import FULL_DISK_REMEDY, Failure

if TYPE_CHECKING:
    from tts.joining import Samples
else:
    Samples = Any

OPUS_RATE = 24_000
LIMIT_S = 600.0
# A file is read as sound only: a playlist in a voice's clothes could name other files.
_READABLE = "wav,w64,aiff,flac,mp3,ogg,aac,mov,mp4,m4a,matroska,webm,caf,amr"
_SAFE_INPUT = ["-protocol_whitelist", "file,pipe", "-format_whitelist", _READABLE]
_CODECS: dict[str, list[str]] = {
    "ogg": ["-c:a", "libopus", "-ar", str(OPUS_RATE), "-f", "ogg"],
    "mp3": ["-c:a", "libmp3lame", "-f", "mp3"],
    "flac": ["-c:a", "flac", "-sample_fmt", "s16", "-f", "flac"],
}
CODEC_NAMES = {"ogg": "opus", "mp3": "mp3", "flac": "flac", "wav": "pcm_s16le"}
_LOSSY = ("ogg", "mp3")


def encode(
    samples: Samples,
    rate: int,
    target: Path,
    kind: str,
    *,
    bitrate_kbps: int = 128,
    tags: Mapping[str, str] | None = None,
) -> int:
    """Writes `samples` (mono, -1…1) as ogg (Opus), mp3, flac or wav; the file's sample rate.

    Raises Failure (unsupported) without ffmpeg or its encoder, Failure (disk_full).
    """
    if kind == "wav":
        write_wav(samples, rate, target)
        return rate
    marks = [
        part for key, value in (tags or {}).items() for part in ("-metadata", f"{key}={value}")
    ]
    quality = ["-b:a", f"{bitrate_kbps}k"] if kind in _LOSSY else []
    source = ["-f", "s16le", "-ar", str(rate), "-ac", "1", "-i", "pipe:0"]
    # With its protocol: a name with a colon in it would mean something else to ffmpeg.
    # Without -xerror it says that the disk was full, and ends with 0 all the same.
    argv = ["-y", "-xerror", *source, *marks, *_CODECS[kind], *quality, f"file:{target}"]
    _ffmpeg(argv, pcm16(samples))
    return OPUS_RATE if kind == "ogg" else rate


def at_speed(samples: Samples, rate: int, speed: float) -> Samples:
    """The same voice, faster or slower (0.5 to 2). Raises Failure (unsupported)."""
    import numpy as np

    if speed == 1.0 or not len(samples):
        return samples
    raw = ["-f", "f32le", "-ar", str(rate), "-ac", "1"]
    argv = [*raw, "-i", "pipe:0", "-af", f"atempo={speed:.6f}", *raw, "pipe:1"]
    changed = _ffmpeg(argv, samples.astype("<f4").tobytes())
    return np.frombuffer(changed, dtype="<f4").astype(np.float32)


def to_reference(source: Path, target: Path, *, limit_s: float) -> None:
    """The first `limit_s` of any sound file as mono 16-bit WAV. Raises Failure (bad_input)."""
    cut = [
        "-t",
        f"{limit_s:g}",
        "-ac",
        "1",
        "-c:a",
        "pcm_s16le",
        "-vn",
        "-sn",
        "-map_metadata",
        "-1",
    ]
    argv = ["-y", *_SAFE_INPUT, "-i", f"file:{source}", *cut, "-f", "wav", f"file:{target}"]
    try:
        _ffmpeg(argv)
    except Failure as failure:
        if failure.code != "failed":
            raise
        raise Failure(
            "bad_input", f"{source.name} is no sound that can be read", "send WAV, FLAC, Ogg or MP3"
        ) from failure


def duration_s(source: Path) -> float | None:
    """Length in seconds as its container says; None when it does not. Raises Failure."""
    show = ["-show_entries", "format=duration", "-of", "csv=p=0"]
    argv = [_program("ffprobe"), "-v", "error", *_SAFE_INPUT, *show, f"file:{source}"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    try:
        return float(done.stdout.strip())
    except ValueError:
        return None


def write_wav(samples: Samples, rate: int, target: Path) -> None:
    """Mono 16-bit PCM. Raises OSError."""
    with target.open("wb") as file, wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(pcm16(samples))


def read_wav(source: Path) -> tuple[Samples, int]:
    """A mono 16-bit file as -1…1, and its rate. Raises OSError, wave.Error, ValueError."""
    import numpy as np

    with source.open("rb") as file, wave.open(file, "rb") as sound:
        if (sound.getnchannels(), sound.getsampwidth()) != (1, 2):
            raise ValueError(f"{source} is not mono with 16 bits")
        data = sound.readframes(sound.getnframes())
        samples = np.frombuffer(data, dtype="<i2").astype(np.float32) / 32768.0
        return samples, sound.getframerate()


def pcm16(samples: Samples) -> bytes:
    """Little-endian 16-bit PCM; what exceeds the range is held at it, not wrapped."""
    import numpy as np

    scaled = np.clip(np.round(samples * 32768.0), -32768, 32767)
    return bytes(scaled.astype("<i2").tobytes())


def has_ffmpeg() -> bool:
    return shutil.which("ffmpeg") is not None


def _ffmpeg(arguments: list[str], data: bytes = b"") -> bytes:
    """Runs it to its end; what it wrote to stdout. Raises Failure."""
    argv = [_program("ffmpeg"), "-nostdin", "-hide_banner", "-v", "error", *arguments]
    if "pipe:0" in arguments:
        argv.remove("-nostdin")
    done = subprocess.run(argv, input=data, capture_output=True, timeout=LIMIT_S, check=False)
    said = done.stderr.decode(errors="replace").strip()
    if "No space left on device" in said or "Disk quota exceeded" in said:
        raise Failure("disk_full", "the disk is full: ffmpeg could not write", FULL_DISK_REMEDY)
    if done.returncode == 0:
        return done.stdout
    if "Unknown encoder" in said:
        raise Failure("unsupported", said.splitlines()[0], "use --format wav, or a full ffmpeg")
    raise Failure("failed", f"ffmpeg: {said[-500:] or f'exit code {done.returncode}'}")


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Failure(
            "unsupported",
            f"{name} is not installed where the voice is made",
            "apt-get install -y ffmpeg, there",
        )
    return found
