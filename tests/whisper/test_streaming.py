"""The stand-in loses audio as WhisperLive does; our client loses none to it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from gpuctl.clients.whisper_live import Options, ServerFull
from gpuctl.errors import ConnectionFailed, CredentialsError
from gpuctl.models import Secret
from gpuctl.services.transcribing_pace import Pace
from gpuctl.services.transcripts import Update
from tests.support.relay import relay
from tests.support.whisper_service import (
    RATE,
    WORDS,
    Service,
    heard_words,
    in_pieces,
    running,
    silence,
    spelled,
    transcribed,
)

HELLO = {"uid": "u", "language": "en", "task": "transcribe", "model": "m", "audio_format": "int16"}


def _told(socket: ClientConnection, for_s: float) -> list[str]:
    """The words of every message that comes within the time."""
    words: set[str] = set()
    deadline = time.monotonic() + for_s
    while time.monotonic() < deadline:
        try:
            message = json.loads(socket.recv(timeout=0.1))
        except TimeoutError:
            continue
        except ConnectionClosed:
            break
        for segment in message.get("segments", ()):
            words |= set(segment["text"].split())
    return sorted(words - {"[sim]"})


def test_a_naive_client_loses_all_when_it_says_the_end_at_once(simulated: Service) -> None:
    with connect(simulated.url) as socket:
        socket.send(json.dumps(HELLO))
        socket.recv()
        socket.send(spelled(["alpha", "bravo"]))
        socket.send(b"END_OF_AUDIO")
        assert _told(socket, 2) == []


def test_a_naive_client_loses_much_of_a_burst(simulated: Service) -> None:
    samples = spelled(WORDS, gap_s=9.0)
    with connect(simulated.url, max_size=None) as socket:
        socket.send(json.dumps(HELLO))
        socket.recv()
        for piece in in_pieces(samples, 16000):
            socket.send(piece)
        heard = _told(socket, 2)
    assert set(WORDS) - set(heard), "a buffer that is too full drops its oldest 30 s"
    assert WORDS[-1] in heard


@pytest.mark.parametrize(
    "greeting",
    [
        "no json",
        "[]",
        '{"language": "en", "task": "transcribe", "model": "m"}',
        '{"uid": "u", "task": "transcribe", "model": "m"}',
    ],
    ids=["text", "list", "no uid", "no language"],
)
def test_a_bad_greeting_is_closed_without_a_word(simulated: Service, greeting: str) -> None:
    with connect(simulated.url) as socket:
        socket.send(greeting)
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=5)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1000


def test_what_we_send_faster_than_it_is_spoken_is_heard_whole_and_once(simulated: Service) -> None:
    spoken = WORDS * 6  # 80 s of audio
    transcript, _ = transcribed(simulated.dial, spelled(spoken))
    assert heard_words(transcript) == spoken
    assert transcript.is_whole
    assert transcript.duration_s > 75
    assert transcript.elapsed_s < transcript.duration_s / 2, "a file is not sent at its own pace"
    starts = [segment.start for segment in transcript.segments]
    assert starts == sorted(starts)


def test_a_last_word_shorter_than_the_server_looks_at_is_heard(simulated: Service) -> None:
    transcript, _ = transcribed(simulated.dial, spelled(["echo"], gap_s=0.0))
    assert heard_words(transcript) == ["echo"]


def test_a_word_said_twice_in_a_row_is_heard_twice(simulated: Service) -> None:
    """The server takes the second for an echo of the first and tells it to nobody."""
    spoken = ["lima", "lima", "mike"]
    transcript, _ = transcribed(simulated.dial, spelled(spoken, gap_s=1.6), Pace(is_realtime=True))
    assert heard_words(transcript) == spoken


def test_silence_has_no_words_and_is_no_loss(simulated: Service) -> None:
    transcript, _ = transcribed(simulated.dial, silence(50))
    assert transcript.text == ""
    assert transcript.is_whole
    assert transcript.wordless == ()


def test_words_around_a_long_silence_are_heard(simulated: Service) -> None:
    samples = spelled(["alpha"]) + silence(70) + spelled(["bravo"])
    transcript, _ = transcribed(simulated.dial, samples)
    assert heard_words(transcript) == ["alpha", "bravo"]
    assert transcript.segments[1].start == pytest.approx(71.4, abs=0.1)


def test_a_connection_is_changed_before_its_time_is_up(simulated: Service) -> None:
    spoken = WORDS[:5]
    pace = Pace(leg_limit_s=1.5, is_realtime=True)
    transcript, report = transcribed(simulated.dial, spelled(spoken), pace)
    assert heard_words(transcript) == spoken
    assert transcript.reconnects > 0
    assert report.said("warn") == []


def test_a_server_that_sends_us_away_is_asked_again(tmp_path: Path) -> None:
    spoken = WORDS[:4]
    with running(tmp_path, MAX_CONNECTION_TIME="1") as service:
        pace = Pace(is_realtime=True)
        transcript, _ = transcribed(service.dial, spelled(spoken), pace)
    assert heard_words(transcript) == spoken
    assert transcript.reconnects >= 2


def test_a_cut_connection_loses_and_doubles_nothing(simulated: Service) -> None:
    spoken = WORDS * 4
    with relay(simulated.port) as between:
        between.cut_after_bytes = 20 * RATE * 2

        def dial():  # type: ignore[no-untyped-def]
            from gpuctl.clients import whisper_live

            return whisper_live.connect(f"ws://127.0.0.1:{between.port}", Options(language="en"))

        transcript, report = transcribed(dial, spelled(spoken))
        assert between.cuts == 1
    assert heard_words(transcript) == spoken
    assert transcript.is_whole
    assert any("going on where it stopped" in line for line in report.said("warn"))


def test_a_server_that_stays_away_leaves_a_span_that_is_named(tmp_path: Path) -> None:
    with running(tmp_path) as service:

        def kill_at_eight(update: Update) -> None:
            if update.heard_s > 8:
                service.process.kill()

        pace = Pace(reconnect_limit_s=1.0, lead_s=3.0, is_realtime=False)
        transcript, _ = transcribed(service.dial, spelled(WORDS * 3), pace, on_update=kill_at_eight)
    heard = heard_words(transcript)
    assert heard == (WORDS * 3)[: len(heard)], "what was heard before is kept"
    assert len(heard) >= 5
    [lost] = transcript.lost
    assert lost.end is None
    assert 6 < lost.begin < 15
    assert not transcript.is_whole


def test_a_full_server_says_wait_and_is_asked_until_there_is_a_place(tmp_path: Path) -> None:
    with running(tmp_path, MAX_CLIENTS="1", MAX_CONNECTION_TIME="60") as service:
        first = service.dial()
        with pytest.raises(ServerFull) as full:
            service.dial()
        assert 0 < full.value.wait_s <= 60
        assert full.value.exit_code == 5
        asked = 0

        def dial():  # type: ignore[no-untyped-def]
            nonlocal asked
            asked += 1
            if asked == 2:
                first.end()
                first.close()
            return service.dial()

        transcript, _ = transcribed(dial, spelled(["golf"]))
    assert heard_words(transcript) == ["golf"]
    assert asked >= 2


def test_without_the_token_nobody_is_let_in(tmp_path: Path) -> None:
    with running(tmp_path, WHISPER_TOKEN="secret-of-a-test", WHISPER_HOST="127.0.0.1") as service:
        from gpuctl.clients import whisper_live

        with pytest.raises(CredentialsError):
            service.dial()
        token = Secret("secret-of-a-test")
        with whisper_live.connect(service.url, Options(), token=token) as connection:
            assert connection.backend == "sim"
        assert service.get("/health")[0] == 200
        assert service.get("/status")[0] == 401
        assert "secret-of-a-test" not in service.said()


def test_nobody_there_is_said_at_once() -> None:
    from gpuctl.clients import whisper_live

    with pytest.raises(ConnectionFailed) as failure:
        whisper_live.connect("ws://127.0.0.1:9", Options())
    assert "127.0.0.1:9" in failure.value.message


def test_in_real_time_words_come_before_they_are_final(simulated: Service) -> None:
    seen: list[Update] = []
    pace = Pace(is_realtime=True)
    samples = spelled(["alpha", "bravo"])
    transcript, _ = transcribed(simulated.dial, samples, pace, on_update=seen.append)
    assert transcript.elapsed_s >= transcript.duration_s - 0.3, "as long as it was spoken"
    assert any(update.open and not update.segments for update in seen)
    final = [segment.text.split()[-1] for update in seen for segment in update.segments]
    assert final == ["alpha", "bravo"], "each is told to be final once"
