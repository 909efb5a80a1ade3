"""Sound from files and pipes: what ffmpeg reads, what it does not, and how it is remembered."""

from __future__ import annotations

import subprocess
import time
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpuctl.errors import MissingDependency, NotFound, UsageError
from gpuctl.services import audio_decoding
from gpuctl.services.audio_decoding import BadAudio
from gpuctl.services.tapes import READ_AHEAD_S, Tape
from tests.support.whisper_service import (
    RATE,
    in_pieces,
    silence,
    spelled,
    until,
    write_wav,
)

pytestmark = pytest.mark.ffmpeg


@pytest.fixture
def wav(tmp_path: Path) -> Path:
    return write_wav(tmp_path / "a.wav", spelled(["alpha", "bravo"]))


def _convert(source: Path, target: Path, *words: str) -> Path:
    subprocess.run(["ffmpeg", "-v", "error", "-i", source, *words, target], check=True)
    return target


@pytest.mark.parametrize("name", ["a.ogg", "a.mp3", "a.flac", "a.m4a", "-strange: name?.wav"])
def test_any_format_becomes_samples(tmp_path: Path, wav: Path, name: str) -> None:
    file = tmp_path / name
    if name.endswith("wav"):
        wav.rename(file)
    else:
        _convert(wav, file, "-ar", "44100", "-ac", "2")
    told_s = audio_decoding.probe(file).duration_s
    samples = b"".join(audio_decoding.of_file(file))
    assert told_s == pytest.approx(2.2, abs=0.2)
    assert len(samples) / 2 / RATE == pytest.approx(2.2, abs=0.2)
    assert max(array("h", samples)) > 2000


def test_the_sound_of_a_film_is_enough(tmp_path: Path, wav: Path) -> None:
    film = tmp_path / "film.mp4"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "color=s=64x64:d=2", "-i", wav, film],
        check=True,
    )
    assert len(b"".join(audio_decoding.of_file(film))) > RATE


def test_what_is_no_sound_is_refused_with_its_name(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no sound at all")
    with pytest.raises(BadAudio, match=r"notes\.txt cannot be read as sound"):
        audio_decoding.probe(text)
    silent = tmp_path / "silent.mp4"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "color=s=64x64:d=1", silent], check=True
    )
    with pytest.raises(BadAudio, match="has no sound in it"):
        audio_decoding.probe(silent)
    with pytest.raises(NotFound):
        audio_decoding.probe(tmp_path / "nothing.wav")
    with pytest.raises(UsageError, match="is a folder"):
        audio_decoding.probe(tmp_path)


def test_without_ffmpeg_the_remedy_is_named(
    wav: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependency) as missing:
        audio_decoding.probe(wav)
    assert "apt install ffmpeg" in (missing.value.hint or "")


def test_a_computer_without_a_microphone_says_so() -> None:
    with pytest.raises(MissingDependency) as missing:
        audio_decoding.of_microphone()
    assert "--stdin" in (missing.value.hint or "")
    with pytest.raises(UsageError):
        audio_decoding.of_microphone("nonsense")


def test_a_recording_that_is_stopped_still_gives_what_it_has() -> None:
    decoder = audio_decoding.of_microphone("lavfi:sine=frequency=440")
    tape = Tape(decoder, is_live=True)
    until(lambda: tape.length_s > 1, "some sound")
    decoder.stop()
    until(lambda: tape.is_ended, "its end")
    assert tape.failure is None
    tape.close()
    decoder.close()


def test_a_pipe_brings_a_format_or_bare_samples(wav: Path, tmp_path: Path) -> None:
    with wav.open("rb") as stream:
        assert len(b"".join(audio_decoding.of_stdin(stream, is_raw=False))) > RATE
    bare = tmp_path / "bare"
    bare.write_bytes(spelled(["alpha"]) + b"x")
    with bare.open("rb") as stream:
        found = b"".join(audio_decoding.of_stdin(stream, is_raw=True))
    assert found == spelled(["alpha"]), "half a sample is none"


# The tape.


def test_a_tape_gives_what_was_recorded_when() -> None:
    samples = spelled(["alpha"]) + silence(1)
    tape = Tape(in_pieces(samples, 5000))
    until(lambda: tape.is_ended, "its end")
    assert tape.length_s == pytest.approx(2.2)
    assert tape.take(0.2, 0.1) == samples[6400:9600]
    tape.forget(1.0)
    assert tape.take(1.0, 9) == samples[32000:]
    assert tape.take(2.2, 1) == b""
    tape.close()


def test_a_tape_knows_where_it_is_quiet() -> None:
    tape = Tape(in_pieces(silence(1) + spelled(["mike"], gap_s=2.0)))
    until(lambda: tape.is_ended, "its end")
    assert tape.quiet_until(0.0) == pytest.approx(1.2)
    assert tape.quiet_until(1.3) == 1.3
    assert tape.quiet_until(1.65) == pytest.approx(3.6)
    assert tape.loud_s(0, 9) == pytest.approx(0.4)
    tape.close()


def test_a_long_file_is_read_no_further_ahead_than_is_needed() -> None:
    read = 0

    def source() -> Iterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield silence(1)

    tape = Tape(source())
    until(lambda: tape.length_s > READ_AHEAD_S, "the limit")
    before = read
    time.sleep(0.1)
    assert read == before
    tape.forget(30)
    until(lambda: read > before + 20, "more, once some was heard")
    tape.close()


def test_a_source_that_breaks_is_told_and_what_came_before_is_kept() -> None:
    def source() -> Iterator[bytes]:
        yield spelled(["alpha"])
        raise BadAudio("the file is torn")

    tape = Tape(source())
    until(lambda: tape.is_ended, "its end")
    assert isinstance(tape.failure, BadAudio)
    assert tape.length_s == pytest.approx(1.2)
    tape.close()
