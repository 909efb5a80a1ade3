"""`gpuctl --sim tts`: a voice, its consent, the queue, the recording; and the same over ssh."""

from __future__ import annotations

import json
import os
import pty
import shutil
import sys
from pathlib import Path

import pytest

from gpuctl.services import receipts
from tests.journeys.conftest import Person
from tests.remote_scripts.tts.conftest import probe, voice_like, write_wav

pytestmark = pytest.mark.ffmpeg
LONG = "The first sentence is here. The second one follows, as it should. And a third ends it."


@pytest.fixture
def speaker(person: Person) -> Person:
    """Somebody with a recording of six seconds, me.wav."""
    if not (shutil.which("ffmpeg") and shutil.which("ffprobe")):
        pytest.skip("ffmpeg is not installed")
    write_wav(person.folder / "me.wav", voice_like(6.0))
    return person


def test_hello_from_the_queue_with_a_voice_whose_consent_is_asked_for_once(
    speaker: Person,
) -> None:
    argv = ("tts", "Hello from the queue.", "--voice", "me.wav", "--out", "hello.ogg")
    refused = speaker.simulates(*argv, "--no-input")
    assert (refused.code, refused.error["code"]) == (2, "usage")
    assert "--consent" in refused.error["hint"]
    assert not (speaker.folder / "hello.ogg").exists()

    assert speaker.simulates("deploy", "tts", "--serverless").code == 0
    data = speaker.simulates(*argv, "--consent", "my own voice").data
    file = Path(data["file"])
    found = probe(file)
    assert (file, found["codec_name"]) == (speaker.folder / "hello.ogg", "opus")
    assert found["seconds"] > 1
    receipt = receipts.read(file)
    voice = receipt["details"]["voice"]
    assert (voice["name"], voice["consent"]["note"]) == ("me.wav", "my own voice")
    assert receipt["prompts"]["user"] == "Hello from the queue."
    assert receipt["artifact"]["media_type"] == "audio/ogg"
    assert str(speaker.home) not in json.dumps(receipt), "nothing leads into this computer"
    (file.parent / "hello.ogg.json").unlink()
    assert receipts.read(file)["details"]["voice"] == voice, "it is in the recording too"

    # The same clip again, as a file and by a name, without a question.
    again = speaker.simulates("tts", LONG, "--voice", "me.wav", "--max-chars", "50").data
    assert Path(again["file"]).name == "the-first-sentence-is-here-the.ogg"
    assert again["target"] == data["target"], "one endpoint for both"

    timed = speaker.simulates("tts", "--redo", "2", "--out", "redone.wav", "--timings", "json")
    recording = Path(timed.data["file"])
    rows = json.loads(recording.with_suffix(".timings.json").read_text())
    assert [row["number"] for row in rows] == [1, 2, 3]
    assert [row["seed"] for row in rows][::2] == [0, 0]
    assert rows[1]["seed"] != 0
    assert rows[-1]["end_s"] == pytest.approx(probe(recording)["seconds"], abs=0.02)

    made_again = speaker.simulates("replay", str(recording), "--out", "replayed.wav").data
    assert Path(made_again["file"]).read_bytes()[44:2000] == recording.read_bytes()[44:2000]

    detached = speaker.simulates("tts", "Later.", "--voice", "me.wav", "--detach").data
    assert detached["files"] == []
    fetched = speaker.simulates("jobs", "attach", detached["job"]).data
    assert probe(Path(fetched["file"]))["codec_name"] == "opus"


def test_the_same_worker_speaks_on_a_pod_over_ssh(speaker: Person) -> None:
    _give_a_player(speaker)
    speaker.simulates("voices", "add", "me", "me.wav", "--consent", "my own voice")
    for command in ("build", "push", "deploy"):
        assert speaker.simulates(command, "tts").code == 0
    done = speaker.simulates(
        *("tts", "Hello over ssh.", "--voice", "me", "--on", "tts", "--out", "hello.mp3"),
        *("--emotion", "calm:0.4", "--speed", "1.2", "--timings", "srt", "--play"),
    )
    file = Path(done.data["file"])
    assert probe(file)["codec_name"] == "mp3"
    assert "Hello over ssh." in file.with_suffix(".srt").read_text()
    receipt = receipts.read(file)
    assert receipt["machine"]["provider"] == "runpod"
    assert receipt["parameters"]["emo_vector"][7] == 0.4
    assert receipt["details"]["voice"]["consent"]["note"] == "my own voice"
    assert _played(speaker) == ["-nodisp", str(file)]
    argv = ("tts", "Hello.", "--voice", "volume:nobody", "--on", "tts")
    assert "--consent" in speaker.simulates(*argv).error["hint"], "asked for these voices too"
    failed = speaker.simulates(*argv, "--consent", "a colleague agreed")
    assert failed.code == 1
    assert "no voice 'nobody'" in failed.error["message"]


def test_a_person_at_a_terminal_is_asked_for_the_consent(speaker: Person) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(speaker.folder)
        argv = ["gpuctl", "voices", "add", "me", "me.wav"]
        os.execve(sys.executable, [sys.executable, "-m", "gpuctl", *argv[1:]], speaker.environ)
    said = b""
    while b"cloned?" not in said:
        said += os.read(terminal, 1024)
    os.write(terminal, b"my own voice\n")
    while True:
        try:
            piece = os.read(terminal, 1024)
        except OSError:
            break
        if not piece:
            break
        said += piece
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert "my own voice" in speaker.types("voices", "list").stdout


def _give_a_player(speaker: Person) -> None:
    programs = speaker.home / "bin"
    programs.mkdir()
    player = programs / "ffplay"
    player.write_text('#!/bin/sh\necho "$@" >"$HOME/played"\n')
    player.chmod(0o755)
    speaker.environ["PATH"] = f"{programs}:{speaker.environ['PATH']}"


def _played(speaker: Person) -> list[str]:
    words = (speaker.home / "played").read_text().split()
    return [words[0], words[-1]]
