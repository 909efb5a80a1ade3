"""The Whisper service's own process for a test: real where its packages are, else the stand-in."""

from __future__ import annotations

import math
import os
import random
import signal
import socket
import subprocess
import sys
import time
import wave
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gpuctl.clients import whisper_live
from gpuctl.clients.whisper_live import LiveConnection, Options
from gpuctl.clients.whisper_rest import Get, getter
from gpuctl.errors import ConnectionFailed
from gpuctl.services.tapes import Tape
from gpuctl.services.transcribing import Transcriber
from gpuctl.services.transcribing_pace import Pace
from gpuctl.services.transcripts import Transcript, Update
from gpuctl.services.waiting import SystemClock
from tests.support.recorder import Recorder

REPOSITORY = Path(__file__).resolve().parents[2]
SETTING = "GPUCTL_TEST_WHISPER_PYTHON"
START_LIMIT_S = 60.0
RATE = 16000
WORDS = "alpha bravo charlie delta echo foxtrot golf hotel india juliett kilo lima mike".split()  # noqa: SIM905
_PORTS = (9090, 9999, 8000)


@dataclass
class Service:
    """A service that runs. Ports as they are on this computer."""

    process: subprocess.Popen[str]
    port: int
    health_port: int
    rest_port: int
    log: Path
    argv: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def get(self) -> Get:
        return getter(f"http://127.0.0.1:{self.health_port}")

    def dial(self, options: Options | None = None) -> LiveConnection:
        return whisper_live.connect(self.url, options or Options(language="en"), ready_limit_s=30)

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")


@contextmanager
def running(
    folder: Path, python: Path | None = None, *, ports: Sequence[int] = (), **environ: str
) -> Iterator[Service]:
    """The service with these variables; the stand-in unless a `python` with WhisperLive is given.

    Returns when it serves.
    """
    here = list(ports) or [free_port() for _ in _PORTS]
    mapping = ",".join(f"{there}:{port}" for there, port in zip(_PORTS, here, strict=True))
    folder.mkdir(parents=True, exist_ok=True)
    given = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "HF_HUB_OFFLINE": "1",
        "GPUCTL_WORKSPACE": str(folder),
        "GPUCTL_SIM_PORTS": mapping,
        "PYTHONUNBUFFERED": "1",
        **({} if python else {"GPUCTL_ENGINE": "sim"}),
        **environ,
    }
    argv = [str(python or sys.executable), "-B", "remote_scripts/run.py", "service", "whisper"]
    log = folder / "service.log"
    with log.open("w") as lines:
        process = subprocess.Popen(
            argv, cwd=REPOSITORY, env=given, stdout=lines, stderr=lines, text=True
        )
    service = Service(process, here[0], here[1], here[2], log, argv)
    try:
        _until_serving(service)
        yield service
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _until_serving(service: Service) -> None:
    def is_ready() -> bool:
        assert service.process.poll() is None, service.said()
        with suppress(ConnectionFailed):
            return service.get("/ready")[0] == 200
        return False

    until(is_ready, "the service to serve", START_LIMIT_S)


def until(look: Callable[[], object], what: str, limit_s: float = 20.0) -> None:
    deadline = time.monotonic() + limit_s
    while not look():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


def free_port() -> int:
    """Below the range from which systems take the ports of outgoing connections."""
    while True:
        port = random.randrange(20_000, 32_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


@pytest.fixture(scope="session")
def whisper_python() -> Path:
    """The interpreter; without it a test is skipped, or fails where `whisper` is required."""
    python = Path(os.environ.get(SETTING) or REPOSITORY / ".venv-whisper/bin/python")
    if python.exists():
        return python
    reason = f"no Python with whisper-live at {python}: scripts/setup-whisper, or set {SETTING}"
    if "whisper" in os.environ.get("GPUCTL_TEST_REQUIRE", ""):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def tiny_whisper_model(whisper_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that hears ` hello world from gpuctl` in everything, made in a second."""
    folder = tmp_path_factory.mktemp("tiny-whisper")
    script = REPOSITORY / "tests/support/tiny_whisper.py"
    built = subprocess.run(
        [whisper_python, script, folder], capture_output=True, text=True, timeout=60, check=False
    )
    if built.returncode:
        pytest.fail(f"the tiny model was not built:\n{built.stderr[-3000:]}")
    return folder


# Sound.


def spelled(words: Sequence[str], *, gap_s: float = 0.6, word_s: float = 0.4) -> bytes:
    """Samples in which the stand-in hears these words, one stretch of sound for each."""
    found = array("h", bytes(int(0.2 * RATE) * 2))
    for word in words:
        pitch = 200 + 100 * WORDS.index(word)
        found.extend(
            int(8000 * math.sin(2 * math.pi * pitch * number / RATE))
            for number in range(int(word_s * RATE))
        )
        found.extend(array("h", bytes(int(gap_s * RATE) * 2)))
    return found.tobytes()


def silence(seconds: float) -> bytes:
    return bytes(int(seconds * RATE) * 2)


def heard_words(transcript: Transcript) -> list[str]:
    return [word for word in transcript.text.split() if word != "[sim]"]


def write_wav(path: Path, samples: bytes) -> Path:
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE)
        sound.writeframes(samples)
    return path


def in_pieces(samples: bytes, size: int = 8000) -> Iterator[bytes]:
    for at in range(0, len(samples), size):
        yield samples[at : at + size]


def transcribed(
    dial: Callable[[], LiveConnection],
    samples: bytes,
    pace: Pace | None = None,
    on_update: Callable[[Update], None] | None = None,
) -> tuple[Transcript, Recorder]:
    """All of it, as `gpuctl transcribe` does it."""
    tape, report = Tape(in_pieces(samples)), Recorder()
    try:
        transcriber = Transcriber(dial, tape, pace or Pace(), SystemClock(), report, on_update)
        return transcriber.run(), report
    finally:
        tape.close()
