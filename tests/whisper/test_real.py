"""The real WhisperLive, driven by our service: what the stand-in says of it is true of it too.

Its model hears one sentence of 1.2 s in whatever it is given (tests/support/tiny_whisper.py).
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from gpuctl.clients.whisper_live import Options, ServerFull
from gpuctl.services import audio_decoding, whisper_checks
from gpuctl.services.transcribing_pace import Pace
from gpuctl.services.waiting import SystemClock
from tests.support.recorder import Recorder
from tests.support.whisper_service import (
    RATE,
    Service,
    running,
    silence,
    transcribed,
    until,
    write_wav,
)

pytestmark = pytest.mark.whisper

SENTENCE = "hello world from gpuctl"
TEN = "One two three four five six, seven eight nine ten."
HELLO = {"uid": "u", "language": "en", "task": "transcribe", "model": "m", "use_vad": True}


@pytest.fixture(scope="module")
def live(
    whisper_python: Path, tiny_whisper_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("live")
    with running(
        folder, whisper_python, WHISPER_MODEL=str(tiny_whisper_model), WHISPER_COMPUTE_TYPE="int8"
    ) as service:
        yield service


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """1.2 s of a synthetic voice, with silence around it."""
    return silence(0.2) + _speech(tmp_path_factory, "Hello there, my dear friend.") + silence(0.2)


def _speech(tmp_path_factory: pytest.TempPathFactory, text: str) -> bytes:
    file = tmp_path_factory.mktemp("speech") / "speech.wav"
    subprocess.run(["espeak-ng", "-v", "en-us", "-s", "170", "-w", file, text], check=True)
    return b"".join(audio_decoding.of_file(file))


def test_speech_becomes_exactly_what_the_model_hears(live: Service, speech: bytes) -> None:
    transcript, report = transcribed(live.dial, speech)
    assert transcript.text == SENTENCE
    assert transcript.engine == "faster_whisper"
    assert transcript.is_whole
    assert transcript.segments[0].start == 0.0
    assert transcript.segments[0].end == pytest.approx(1.2)
    assert report.said("warn") == []


def test_silence_has_no_words(live: Service) -> None:
    transcript, _ = transcribed(live.dial, silence(3))
    assert transcript.text == ""
    assert transcript.is_whole


def test_a_longer_recording_is_covered_from_end_to_end(
    live: Service, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The same sentence again and again: the server takes each after the first for an echo."""
    samples = _speech(tmp_path_factory, TEN)
    transcript, _ = transcribed(live.dial, samples)
    seconds = len(samples) / 2 / RATE
    assert {segment.text.strip() for segment in transcript.segments} == {SENTENCE}
    assert len(transcript.segments) >= int(seconds / 1.2) - 1
    ends = [0.0, *(segment.end for segment in transcript.segments)]
    starts = [segment.start for segment in transcript.segments]
    assert starts == pytest.approx(ends[:-1], abs=0.3)
    assert transcript.is_whole


def test_sound_without_words_ends_soon_and_is_no_loss(
    live: Service, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """This model cannot tell where its words lie; asked for that, it has none. The server says
    nothing at all then, again and again."""
    asked = Options(language="en", words=True)
    samples = _speech(tmp_path_factory, TEN)
    transcript, _ = transcribed(lambda: live.dial(asked), samples)
    assert transcript.text == ""
    assert transcript.is_whole
    assert len(transcript.wordless) == 1
    assert transcript.elapsed_s < 30


def test_the_language_is_found_out(live: Service, speech: bytes) -> None:
    transcript, _ = transcribed(lambda: live.dial(Options(language=None)), speech)
    assert transcript.language == "en"
    assert transcript.text == SENTENCE


def test_a_naive_client_loses_all_when_it_says_the_end_at_once(
    live: Service, speech: bytes
) -> None:
    with connect(live.url) as socket:
        socket.send(json.dumps({**HELLO, "audio_format": "int16"}))
        assert json.loads(socket.recv())["message"] == "SERVER_READY"
        socket.send(speech)
        socket.send(b"END_OF_AUDIO")
        told = [json.loads(message) for message in socket]
    assert [message for message in told if "segments" in message] == []


def test_a_server_of_others_tells_no_position_and_is_heard_out_all_the_same(
    live: Service, speech: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = Options.as_json

    def without(self: Options) -> dict[str, object]:
        asked = usual(self)
        del asked["gpuctl_positions"]
        return asked

    monkeypatch.setattr(Options, "as_json", without)
    transcript, _ = transcribed(live.dial, speech)
    assert {segment.text.strip() for segment in transcript.segments} == {SENTENCE}
    assert transcript.is_whole


@pytest.mark.parametrize("greeting", ["no json", '{"uid": "u", "task": "transcribe"}'])
def test_a_bad_greeting_is_closed_without_a_word(live: Service, greeting: str) -> None:
    with connect(live.url) as socket:
        socket.send(greeting)
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=5)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1000


def test_health_ready_and_status_tell_what_it_is(live: Service, tiny_whisper_model: Path) -> None:
    clock = SystemClock()
    assert whisper_checks.health(live.get, clock).is_ok
    assert whisper_checks.ready(live.get, clock).detail == "200 takes a client"
    told = whisper_checks.status(live.get, clock).body
    assert told["model"] == str(tiny_whisper_model)
    assert told["configuration"]["compute_type"] == "int8"
    until(lambda: whisper_checks.status(live.get, clock).body["clients"] == 0, "nobody")
    with live.dial():
        assert whisper_checks.status(live.get, clock).body["clients"] == 1


def test_a_model_that_hears_other_words_fails_the_check(
    live: Service, speech: bytes, tmp_path: Path
) -> None:
    file = write_wav(tmp_path / "sample.wav", speech)
    sample = whisper_checks.Sample(file, "Hello there, my dear friend.", simulated="")
    spoken = whisper_checks.transcription(live.dial, sample, SystemClock(), Recorder())
    assert not spoken.is_ok
    assert spoken.word_error >= 0.8
    assert spoken.transcript.text.startswith(SENTENCE)


def test_full_and_too_long_are_said_and_survived(
    whisper_python: Path, tiny_whisper_model: Path, tmp_path: Path, speech: bytes
) -> None:
    with running(
        tmp_path,
        whisper_python,
        WHISPER_MODEL=str(tiny_whisper_model),
        MAX_CLIENTS="1",
        MAX_CONNECTION_TIME="4",
    ) as service:
        until(lambda: service.get("/status")[1]["clients"] == 0, "nobody")
        with service.dial() as first:
            with pytest.raises(ServerFull) as full:
                service.dial()
            assert 0 <= full.value.wait_s <= 4
            assert service.get("/ready")[0] == 200, "a full server is ready: it says WAIT"
            first.end()
        samples = speech + silence(2.5) + speech
        transcript, _ = transcribed(service.dial, samples, Pace(is_realtime=True))
    assert {segment.text.strip() for segment in transcript.segments} == {SENTENCE}
    assert transcript.segments[0].start < 1.0
    assert transcript.segments[-1].start > len(speech) / 2 / RATE + 2
    assert transcript.reconnects >= 1
    assert transcript.is_whole


def test_a_model_that_is_not_there_ends_it_loudly(whisper_python: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [whisper_python, "-B", "remote_scripts/run.py", "service", "whisper"],
        cwd=Path(__file__).resolve().parents[2],
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "HF_HUB_OFFLINE": "1",
            "GPUCTL_WORKSPACE": str(tmp_path),
            "GPUCTL_SIM_PORTS": "9090:29090,9999:29999",
            "WHISPER_MODEL": "no-such-size",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[-1]["level"] == "error"
    assert "no-such-size" in lines[-1]["message"]
