"""Speech jobs in this process: simulated ones, and real ones on a stand-in for IndexTTS."""

from __future__ import annotations

import shutil
import subprocess
import sys
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

HERE = Path(__file__).resolve().parent
REMOTE_SCRIPTS = HERE.parents[2] / "remote_scripts"
if str(REMOTE_SCRIPTS) not in sys.path:
    sys.path.insert(0, str(REMOTE_SCRIPTS))

RATE = 22_050
Json = dict[str, Any]


@dataclass
class Outcome:
    """What a job left behind. `failure` has code, message and remedy."""

    events: list[Json]
    metrics: Json = field(default_factory=dict)
    failure: Json = field(default_factory=dict)

    @property
    def artifact(self) -> Json:
        (found,) = [event for event in self.events if event["event"] == "artifact"]
        return found

    @property
    def path(self) -> Path:
        return Path(self.artifact["path"])

    def told(self, stage: str) -> list[tuple[float, float]]:
        return [(e["done"], e["total"]) for e in self.events if e.get("stage") == stage]

    def said(self) -> str:
        return "\n".join(event["message"] for event in self.events if event["event"] == "log")


class Desk:
    """A machine's workspace, and jobs run in it."""

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self.home = workspace / "indextts"
        self.voices = self.home / "audio_voices"
        self.voices.mkdir(parents=True)

    def run(
        self, *, is_cancelled: Callable[[list[Json]], bool] | None = None, **given: Any
    ) -> Outcome:
        from tts.handler import handler
        from worker import report

        events: list[Json] = []
        number = len(list(self.workspace.glob("jobs/*"))) + 1
        folder = self.workspace / f"jobs/J{number}"
        folder.mkdir(parents=True)
        context = report.JobContext(
            f"J{number}",
            folder,
            self.workspace,
            (lambda: is_cancelled(events)) if is_cancelled else bool,
        )
        outcome = Outcome(events)
        job = {
            "id": f"J{number}",
            "input": {"text": "Hello there.", "speaker_voice": "me", **given},
        }
        try:
            with report.bind(lambda kind, more: events.append({"event": kind, **more}), context):
                outcome.metrics = handler(job)
        except report.Failure as failure:
            outcome.failure = {
                "code": failure.code,
                "message": failure.message,
                "remedy": failure.remedy,
            }
        return outcome


@pytest.fixture(scope="session")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds of something voice-like."""
    path = tmp_path_factory.mktemp("voice") / "me.wav"
    write_wav(path, voice_like(6.0))
    return path


@pytest.fixture
def desk(tmp_path: Path, voice: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A machine with one voice, `me`, and the simulated engine."""
    if not (shutil.which("ffmpeg") and shutil.which("ffprobe")):
        pytest.skip("ffmpeg is not installed")
    monkeypatch.setenv("GPUCTL_ENGINE", "sim")
    for name in ("S3_BUCKET_NAME", "S3_ENDPOINT_URL", "S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    made = Desk(tmp_path / "workspace")
    shutil.copy(voice, made.voices / "me.wav")
    return made


@pytest.fixture
def stand_in(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """The same machine, with classes of IndexTTS's very signatures in place of its model."""
    before = Path.cwd()
    _forget_modules()
    monkeypatch.syspath_prepend(str(HERE / "stand_in"))
    monkeypatch.delenv("GPUCTL_ENGINE")
    for folder in ("checkpoints", "checkpoints_2_5"):
        (desk.home / folder).mkdir()
        (desk.home / folder / "config.yaml").write_text("version: 2\n")
    (desk.home / "src").mkdir()
    yield desk
    from tts import indextts_engine

    indextts_engine.unload()
    _forget_modules()
    monkeypatch.chdir(before)


def _forget_modules() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] in ("indextts", "torch")]:
        del sys.modules[name]


def voice_like(seconds: float, level: float = 0.3, hertz: float = 140.0) -> np.ndarray[Any, Any]:
    """Harmonics that come and go four times a second."""
    moments = np.arange(round(seconds * RATE)) / RATE
    tone = sum(np.sin(2 * np.pi * hertz * k * moments) / k for k in range(1, 8))
    return (level * tone * (0.55 + 0.45 * np.sin(2 * np.pi * 4 * moments)) / 2).astype(np.float32)


def write_wav(path: Path, samples: np.ndarray[Any, Any], rate: int = RATE) -> Path:
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return path


def probe(path: Path) -> Json:
    """What ffprobe says of a sound file's only stream, and its duration."""
    import json

    done = subprocess.run(
        ["ffprobe", "-v", "error", "-show_streams", "-show_format", "-of", "json", str(path)],
        capture_output=True,
        check=True,
    )
    said = json.loads(done.stdout)
    (stream,) = said["streams"]
    return {**stream, "format": said["format"], "seconds": float(said["format"]["duration"])}


def decoded(path: Path, rate: int = RATE) -> np.ndarray[Any, Any]:
    """Any sound file as samples from -1 to 1."""
    argv = [
        "ffmpeg",
        "-v",
        "error",
        "-i",
        str(path),
        "-f",
        "f32le",
        "-ac",
        "1",
        "-ar",
        str(rate),
        "-",
    ]
    done = subprocess.run(argv, capture_output=True, check=True)
    return np.frombuffer(done.stdout, dtype="<f4")


@pytest.fixture(scope="session")
def bucket_server() -> Iterator[str]:
    """S3 over HTTP, with one bucket called `speech`; its address."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    )
    client.create_bucket(Bucket="speech")
    yield url
    server.stop()


def bucket_environment(url: str) -> dict[str, str]:
    """The seed's four variables."""
    return {
        "S3_ENDPOINT_URL": url,
        "S3_ACCESS_KEY_ID": "key",
        "S3_SECRET_ACCESS_KEY": "secret",
        "S3_BUCKET_NAME": "speech",
    }
