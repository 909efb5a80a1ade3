"""The simulated engine: no model and no GPU. espeak-ng reads the text, or tones stand for it."""

from __future__ import annotations

import hashlib
import io
import math
import os
import random
import re
import shutil
import subprocess
import time
import wave
from typing import TYPE_CHECKING, Any

from tts.engine import Delivery
from worker import report

if TYPE_CHECKING:
    import numpy as np

    from tts.joining import Samples
else:
    Samples = Any

RATE = 22_050
LABEL = "Simulated voice."
STEPS = 4
_VOICES = {"EN": "en-us", "ZH": "cmn", "JA": "ja", "ES": "es", "AR": "ar"}
_VARIANTS = ("m1", "m2", "m3", "m4", "m7", "f1", "f2", "f3", "f4")
_SYLLABLE = re.compile(r"[^\W\d_]?[aeiouyàâäéèêëîïôöùûü]+|[\u3040-\u9fff]|\d", re.IGNORECASE)
_MARKUP = re.compile(r"<([^<>|\n]+)\|[^<>\n]+>")
_resident: list[str] = []


class SimEngine:
    """Says the text with a voice that depends on reference, emotion and seed."""

    name = "sim"
    has_speed = True

    def identity(self) -> str:
        return f"sim {'espeak-ng' if _espeak() else 'tones'}"

    def load(self) -> float:
        if _resident:
            return 0.0
        report.loading("model", "simulated: pretending to load IndexTTS")
        started = time.monotonic()
        _sleep(_seconds("GPUCTL_SIM_LOAD_S"))
        _resident.append(self.name)
        return time.monotonic() - started

    def preface(self) -> tuple[Samples, int]:
        """Whoever hears the file knows that no model made it."""
        return _spoken(LABEL, "en-us", 50, 175), RATE

    def say(self, text: str, delivery: Delivery, seed: int) -> tuple[Samples, int]:
        for _ in range(STEPS):
            _sleep(_seconds("GPUCTL_SIM_STEP_S"))
            report.check_cancelled()
        chance = random.Random(f"{delivery.identity()}|{seed}")
        character = random.Random(delivery.voice.digest)
        pitch = character.randint(30, 70) + chance.randint(-4, 4)
        variant = _VARIANTS[character.randrange(len(_VARIANTS))]
        voice = f"{_VOICES.get(delivery.lang, 'en-us')}+{variant}"
        pace = round((character.randint(150, 175) + chance.randint(-9, 9)) * delivery.speed)
        return _spoken(_MARKUP.sub(r"\1", text), voice, pitch, pace), RATE

    def facts(self) -> dict[str, Any]:
        return {"gpu": "simulated", "device": "simulated", "peak_vram_bytes": 0}


def is_loaded() -> bool:
    return bool(_resident)


def _spoken(text: str, voice: str, pitch: int, pace: int) -> Samples:
    program = _espeak()
    if program:
        sound = _by_espeak(program, text, voice, pitch, pace)
        if sound is not None:
            return sound
    return _tones(text, voice, pitch, pace)


def _by_espeak(program: str, text: str, voice: str, pitch: int, pace: int) -> Samples | None:
    """None when espeak-ng does not know the voice or says nothing."""
    import numpy as np

    argv = [
        program,
        "-v",
        voice,
        "-p",
        str(pitch),
        "-s",
        str(pace),
        "-b",
        "1",
        "--stdin",
        "--stdout",
    ]
    done = subprocess.run(argv, input=text.encode(), capture_output=True, timeout=120, check=False)
    if done.returncode or not done.stdout.startswith(b"RIFF"):
        return None
    with wave.open(io.BytesIO(done.stdout)) as sound:
        if sound.getframerate() != RATE:
            return None
        # To a pipe the header's length is a guess: everything after it is sound.
        sound.setpos(0)
    data = done.stdout[44:]
    samples: Samples = np.frombuffer(data[: len(data) // 2 * 2], dtype="<i2").astype(np.float32)
    return samples / 32768.0 if np.abs(samples).max(initial=0.0) > 0 else None


def _tones(text: str, voice: str, pitch: int, pace: int) -> Samples:
    """A soft tone for each syllable, a gap between words: audible, and plainly no speech."""
    import numpy as np

    chance = random.Random(hashlib.sha256(f"{text}|{voice}".encode()).hexdigest())
    seconds = 0.16 * 165 / pace
    pieces = [np.zeros(RATE // 50, dtype=np.float32)]
    for word in text.split():
        for _ in range(max(1, len(_SYLLABLE.findall(word)))):
            pieces.append(_tone(100.0 + 2.0 * pitch + chance.uniform(-25, 25), seconds))
        pieces.append(np.zeros(round(RATE * seconds / 3), dtype=np.float32))
    return np.concatenate(pieces)


def _tone(hertz: float, seconds: float) -> np.ndarray[Any, Any]:
    import numpy as np

    moments = np.arange(round(RATE * seconds), dtype=np.float64) / RATE
    wave_ = sum(np.sin(2 * math.pi * hertz * k * moments) / k**2 for k in range(1, 6))
    envelope = np.sin(math.pi * moments / seconds) ** 0.5
    return (0.25 * wave_ * envelope).astype(np.float32)


def _espeak() -> str | None:
    return shutil.which("espeak-ng")


def _seconds(name: str) -> float:
    try:
        return max(0.0, float(os.environ.get(name, "0")))
    except ValueError:
        return 0.0


def _sleep(seconds: float) -> None:
    """Waits in small pieces, so that a cancelled job stops at once."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        report.check_cancelled()
        time.sleep(min(left, 0.05))
