"""Whole files over REST, and what cannot go that way."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpuctl.clients.whisper_rest import Rest
from gpuctl.errors import ApiError, CredentialsError
from gpuctl.models import Secret
from gpuctl.services import audio_decoding, transcribing_files, whisper_places
from gpuctl.services.transcribing_files import Ear, Options, Sound
from gpuctl.services.transcribing_pace import Pace
from gpuctl.services.waiting import SystemClock
from gpuctl.services.whisper_places import UrlPlace, beside
from tests.support.recorder import Recorder
from tests.support.whisper_service import (
    WORDS,
    Service,
    heard_words,
    running,
    spelled,
    write_wav,
)

pytestmark = pytest.mark.ffmpeg


class _Place(UrlPlace):
    """The ports of a test's service are not those that a URL would be guessed at."""

    rest_url = ""

    def rest(self) -> Rest | None:
        found = Rest(self.rest_url, self.token)
        return found if found.health() is not None else None


def _ear(service: Service, options: Options, report: Recorder | None = None) -> Ear:
    place = _Place(service.url)
    place.rest_url = f"http://127.0.0.1:{service.rest_port}"
    return Ear(place, options, Pace(), SystemClock(), report or Recorder())


def _sound(file: Path) -> Sound:
    return Sound(str(file), lambda: audio_decoding.of_file(file), file)


def test_a_file_is_heard_at_once_with_the_times_of_its_words(
    simulated: Service, tmp_path: Path
) -> None:
    sound = _sound(write_wav(tmp_path / "a.wav", spelled(WORDS)))
    ear = _ear(simulated, Options(words=True))
    rest = transcribing_files.rest_of(ear, sound)
    assert rest is not None
    transcript = transcribing_files.at_once(ear, sound, rest)
    assert transcript is not None
    assert heard_words(transcript) == WORDS
    assert transcript.way == "rest"
    assert transcript.engine == "sim"
    assert all(segment.words for segment in transcript.segments)


@pytest.mark.parametrize("options", [Options(task="translate"), Options(diarize=True)])
def test_what_rest_cannot_do_is_streamed(
    simulated: Service, tmp_path: Path, options: Options
) -> None:
    sound = _sound(write_wav(tmp_path / "a.wav", spelled(["alpha"])))
    assert transcribing_files.rest_of(_ear(simulated, options), sound) is None


def test_a_server_without_rest_is_streamed_to(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        sound = _sound(write_wav(tmp_path / "a.wav", spelled(["alpha"])))
        assert transcribing_files.rest_of(_ear(service, Options()), sound) is None


def test_a_refused_file_is_no_end_but_a_reason_to_stream(
    simulated: Service, tmp_path: Path
) -> None:
    report = Recorder()
    sound = _sound(write_wav(tmp_path / "a.wav", spelled(["alpha"])))
    ear = _ear(simulated, Options(), report)
    elsewhere = Rest(f"http://127.0.0.1:{simulated.health_port}")
    assert transcribing_files.at_once(ear, sound, elsewhere) is None
    assert "streaming instead" in report.said("warn")[0]


def test_the_stand_in_refuses_as_the_real_one_does(simulated: Service, tmp_path: Path) -> None:
    rest = Rest(f"http://127.0.0.1:{simulated.rest_port}")
    with pytest.raises(ApiError, match="not a WAV"):
        rest.transcribe(b"nonsense", Options(), limit_s=5)


def test_the_token_is_demanded_and_shown(tmp_path: Path) -> None:
    with running(
        tmp_path, ENABLE_REST="1", WHISPER_TOKEN="of-a-test", WHISPER_HOST="127.0.0.1"
    ) as service:
        url = f"http://127.0.0.1:{service.rest_port}"
        with pytest.raises(CredentialsError):
            Rest(url).transcribe(b"", Options(), limit_s=5)
        with pytest.raises(ApiError):
            Rest(url, Secret("of-a-test")).transcribe(b"", Options(), limit_s=5)


def test_health_and_rest_are_looked_for_beside_the_websocket() -> None:
    assert beside("wss://abc-9090.proxy.runpod.net", 9999) == "https://abc-9999.proxy.runpod.net"
    assert beside("ws://10.0.0.5:9090/", 8000) == "http://10.0.0.5:8000"
    assert beside("ws://[::1]:9090", 9999) == "http://[::1]:9999"


def test_a_token_never_crosses_a_network_in_the_clear() -> None:
    token = Secret("of-a-test")
    place = whisper_places.of_url("ws://10.0.0.5:9090", token)
    assert place._token_for(place.url) is None
    for url in ("wss://10.0.0.5:9090", "ws://127.0.0.1:9090"):
        assert whisper_places.of_url(url, token)._token_for(url) is token
