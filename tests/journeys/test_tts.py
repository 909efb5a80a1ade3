"""`gpuctl --sim tts`: a voice, its consent, the queue, the recording; and the same over ssh."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
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

    speaker.simulates("deploy", "tts", "--serverless")
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
    speaker.simulates("voices", "add", "me", "me.wav", "--consent", "my own voice")
    speaker.simulates("deploy", "tts")
    done = speaker.simulates(
        *("tts", "Hello over ssh.", "--voice", "me", "--on", "tts", "--out", "hello.mp3"),
        *("--emotion", "calm:0.4", "--speed", "1.2", "--timings", "srt"),
    )
    file = Path(done.data["file"])
    assert probe(file)["codec_name"] == "mp3"
    assert "Hello over ssh." in file.with_suffix(".srt").read_text()
    receipt = receipts.read(file)
    assert receipt["machine"]["provider"] == "runpod"
    assert receipt["parameters"]["emo_vector"][7] == 0.4
    assert receipt["details"]["voice"]["consent"]["note"] == "my own voice"
    failed = speaker.simulates("tts", "Hello.", "--voice", "volume:nobody", "--on", "tts")
    assert failed.code == 1
    assert "no voice 'nobody'" in failed.error["message"]


def test_a_dry_run_shows_the_chunks_and_starts_and_keeps_nothing(speaker: Person) -> None:
    done = speaker.simulates(
        "--dry-run", "tts", LONG, "--voice", "me.wav", "--max-chars", "50", "--emotion", "sad"
    )
    rows = done.data["chunks"]
    assert [row["number"] for row in rows] == [1, 2, 3]
    assert " ".join(row["text"] for row in rows) == LONG
    assert done.data["input"]["emo_vector"][2] == 0.6
    assert not speaker.sim_folder.exists()
    assert not (speaker.home / ".local/share/gpuctl").exists()
    shown = speaker.types("--dry-run", "tts", LONG, "--voice", "me.wav", "--max-chars", "50")
    assert "2      37          The second one follows, as it should." in shown.stdout


def test_voices_are_kept_with_their_consent_shown_and_removed(speaker: Person) -> None:
    def voices(*argv: str) -> Any:
        return speaker.types("--json", "voices", *argv)

    assert voices("list").data["voices"] == []
    refused = voices("add", "me", "me.wav")
    assert (refused.code, "--consent" in refused.error["hint"]) == (2, True)
    assert voices("add", "../me", "me.wav", "--consent", "x").code == 2
    made = voices("add", "me", "me.wav", "--consent", "  my own\nvoice ").data
    assert (made["name"], made["consent"]) == ("me", "my own voice")
    assert Path(made["file"]).name == f"{made['sha256']}.wav"
    assert Path(made["file"]).parent == speaker.home / ".local/share/gpuctl/voices"
    assert voices("add", "me", "me.wav", "--consent", "x").code == 2, "a name is taken once"
    assert voices("add", "me", "me.wav", "--consent", "new", "--replace").data["consent"] == "new"
    assert voices("add", "other", "me.wav", "--consent", "x").code == 0
    assert [voice["name"] for voice in voices("list").data["voices"]] == ["me", "other"]
    assert "new" in speaker.types("voices", "show", "me").stdout
    assert voices("remove", "me").data["name"] == "me"
    assert Path(made["file"]).exists(), "another name still needs the clip"
    assert voices("remove", "other").code == 0
    assert not Path(made["file"]).exists()
    gone = voices("show", "me")
    assert (gone.code, gone.error["code"]) == (3, "not_found")


def test_a_person_at_a_terminal_is_asked_for_the_consent(speaker: Person) -> None:
    import os
    import pty

    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(speaker.folder)
        argv = ["gpuctl", "voices", "add", "me", "me.wav"]
        import sys

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


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda path: path.write_bytes(b""), "cannot be read as sound"),
        (lambda path: path.write_text("not a sound"), "cannot be read as sound"),
        (lambda path: write_wav(path, np.zeros(22050 * 3)), "is silent"),
        (lambda path: write_wav(path, voice_like(0.5)), "lasts 0.5 s"),
        (lambda path: write_wav(path, voice_like(150.0), rate=2756), "20 minutes"),
        (lambda path: write_wav(path, voice_like(5.0), rate=4000), "4000 samples per second"),
    ],
    ids=["empty", "text", "silent", "short", "twenty-minutes", "too-few-samples"],
)
def test_a_clip_that_cannot_be_a_voice_is_refused_with_what_to_do(
    speaker: Person, make: Any, named: str
) -> None:
    make(speaker.folder / "bad.wav")
    done = speaker.simulates("tts", "Hello.", "--voice", "bad.wav", "--consent", "x")
    assert (done.code, done.error["code"]) == (8, "validation")
    assert named in done.error["message"]
    assert "ffmpeg -ss" in done.error["hint"]
    assert not speaker.sim_folder.exists(), "it is refused before anything is started"


def test_a_poor_clip_is_taken_with_a_warning_for_each_weakness(speaker: Person) -> None:
    loud = np.clip(voice_like(20.0, level=3.0), -1, 1)
    write_wav(speaker.folder / "loud.wav", loud)
    said = speaker.types("voices", "add", "loud", "loud.wav", "--consent", "x").stderr
    assert "clipped" in said
    assert "only the first 15 of 20 s" in said
    quiet = np.concatenate([voice_like(1.5, level=0.02), np.zeros(22050 * 5)])
    write_wav(speaker.folder / "quiet.wav", quiet, rate=11025)
    said = speaker.types("voices", "add", "quiet", "quiet.wav", "--consent", "x").stderr
    for weakness in ("quiet", "silence", "telephone"):
        assert weakness in said


@pytest.mark.parametrize(
    ("argv", "code", "named"),
    [
        (("tts",), 2, "give a text"),
        (("tts", "Hello."), 2, "no voice"),
        (("tts", "Hello.", "--voice", "nobody"), 3, "no voice 'nobody'"),
        (("tts", "Hello.", "--voice", "none.wav"), 3, "no file none.wav"),
        (("tts", "--file", "none.txt", "--voice", "me.wav"), 3, "none.txt"),
        (("tts", "…", "--voice", "me.wav"), 2, "nothing that can be spoken"),
        (("tts", "Hi.", "--voice", "me.wav", "--out", "a.xyz"), 2, "not a format"),
        (("tts", "Hi.", "--voice", "me.wav", "--timings", "vtt"), 2, "--timings vtt"),
        (("tts", "Hi.", "--voice", "me.wav", "--detach", "--play"), 2, "--detach"),
        (("tts", "--redo", "1", "--speed", "2"), 2, "--speed"),
        (("tts", "--redo", "1"), 3, "no earlier speech"),
    ],
)
def test_what_cannot_be_meant_is_said_before_anything_is_started(
    speaker: Person, argv: tuple[str, ...], code: int, named: str
) -> None:
    given = (*argv, "--consent", "x") if argv[-1] != "tts" else argv
    done = speaker.simulates(*given)
    assert done.code == code
    assert named in done.error["message"]
    assert not list(speaker.sim_folder.glob("pods/*"))


def test_play_hands_the_recording_to_a_player(speaker: Person) -> None:
    programs = speaker.home / "bin"
    programs.mkdir()
    player = programs / "ffplay"
    player.write_text('#!/bin/sh\necho "$@" >"$HOME/played"\n')
    player.chmod(0o755)
    speaker.environ["PATH"] = f"{programs}:{speaker.environ['PATH']}"
    done = speaker.simulates(
        "tts", "Hello.", "--voice", "me.wav", "--consent", "mine", "--play", "--out", "x.wav"
    )
    assert done.code == 0, done.stderr
    played = (speaker.home / "played").read_text().split()
    assert (played[0], played[-1]) == ("-nodisp", str(speaker.folder / "x.wav"))


def test_a_text_from_a_file_and_from_stdin_is_spoken(speaker: Person) -> None:
    (speaker.folder / "t.txt").write_bytes("\ufeffOne line.\r\n\r\nTwo lines.".encode())
    argv = ("--dry-run", "tts", "--voice", "me.wav", "--max-chars", "50")
    by_file = speaker.simulates(*argv, "--file", "t.txt").data["input"]["text"]
    by_pipe = speaker.simulates(*argv, "-", typed="One line.\n\nTwo lines.\n").data
    assert by_file == by_pipe["input"]["text"] == "One line.\n\nTwo lines."


def test_without_ffmpeg_the_remedy_is_named(speaker: Person) -> None:
    bare = speaker.home / "bare"
    bare.mkdir()
    speaker.environ["PATH"] = str(bare)
    done = speaker.simulates("tts", "Hello.", "--voice", "me.wav", "--consent", "x")
    assert done.error["code"] == "missing_dependency"
    assert "apt install ffmpeg" in done.error["hint"]


def test_a_voice_in_a_films_sound_is_taken(speaker: Person) -> None:
    film = speaker.folder / "me.mp4"
    argv = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "color=black:s=64x64:d=6", "-i"]
    subprocess.run([*argv, "me.wav", "-shortest", str(film)], cwd=speaker.folder, check=True)
    made = speaker.types("--json", "voices", "add", "me", "me.mp4", "--consent", "mine").data
    assert made["duration_s"] == pytest.approx(6.0, abs=0.2)
