"""`gpuctl tts` and `gpuctl voices` from the command line, as far as nothing is started."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpuctl import cli
from gpuctl.console import Console
from gpuctl.context import Context
from tests.remote_scripts.tts.conftest import voice_like, write_wav

pytestmark = pytest.mark.ffmpeg
LONG = "The first sentence is here. The second one follows, as it should. And a third ends it."


@dataclass(frozen=True)
class Done:
    """What a command line left behind."""

    code: int
    stdout: str
    stderr: str

    @property
    def data(self) -> dict[str, Any]:
        assert self.code == 0, self.stdout + self.stderr
        found: dict[str, Any] = json.loads(self.stdout)["data"]
        return found

    @property
    def error(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.stdout)["error"]
        return found


class Terminal:
    """Runs command lines in this process, with folders of its own."""

    def __init__(self, home: Path) -> None:
        self.home, self.folder = home, home / "project"
        kinds = ("CACHE", "CONFIG", "STATE", "DATA")
        self.environ = {f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in kinds}

    def types(self, *argv: str) -> Done:
        out, err = io.StringIO(), io.StringIO()
        console = Console(stdout=out, stderr=err, environ=self.environ)
        context = Context(console, environ=self.environ, project_folder=self.folder)
        code = cli.main(argv, context=context)
        return Done(code, out.getvalue(), err.getvalue())

    def simulates(self, *argv: str) -> Done:
        return self.types("--sim", "--json", *argv)

    @property
    def sim_folder(self) -> Path:
        return self.home / "state/gpuctl/sim"


@pytest.fixture
def speaker(private_home: Path) -> Terminal:
    """Somebody with a recording of six seconds, me.wav."""
    if not (shutil.which("ffmpeg") and shutil.which("ffprobe")):
        pytest.skip("ffmpeg is not installed")
    write_wav(private_home / "project/me.wav", voice_like(6.0))
    return Terminal(private_home)


def test_a_dry_run_shows_the_chunks_and_starts_and_keeps_nothing(speaker: Terminal) -> None:
    done = speaker.simulates(
        "--dry-run", "tts", LONG, "--voice", "me.wav", "--max-chars", "50", "--emotion", "sad"
    )
    rows = done.data["chunks"]
    assert [row["number"] for row in rows] == [1, 2, 3]
    assert " ".join(row["text"] for row in rows) == LONG
    assert done.data["input"]["emo_vector"][2] == 0.6
    assert not speaker.sim_folder.exists()
    assert not (speaker.home / "data/gpuctl").exists()
    shown = speaker.types("--dry-run", "tts", LONG, "--voice", "me.wav", "--max-chars", "50")
    assert "2      37          The second one follows, as it should." in shown.stdout


def test_voices_are_kept_with_their_consent_shown_and_removed(speaker: Terminal) -> None:
    def voices(*argv: str) -> Any:
        return speaker.types("--json", "voices", *argv)

    assert voices("list").data["voices"] == []
    refused = voices("add", "me", "me.wav")
    assert (refused.code, "--consent" in refused.error["hint"]) == (2, True)
    assert voices("add", "../me", "me.wav", "--consent", "x").code == 2
    made = voices("add", "me", "me.wav", "--consent", "  my own\nvoice ").data
    assert (made["name"], made["consent"]) == ("me", "my own voice")
    assert Path(made["file"]).name == f"{made['sha256']}.wav"
    assert Path(made["file"]).parent == speaker.home / "data/gpuctl/voices"
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


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda path: path.write_bytes(b""), "cannot be read as sound"),
        (lambda path: path.write_text("not a sound"), "cannot be read as sound"),
        (lambda path: write_wav(path, np.zeros(22050 * 3)), "is silent"),
        (lambda path: write_wav(path, voice_like(0.5)), "lasts 0.5 s"),
        (lambda path: write_wav(path, np.zeros(1200 * 2756), rate=2756), "20 minutes"),
        (lambda path: write_wav(path, voice_like(5.0), rate=4000), "4000 samples per second"),
    ],
    ids=["empty", "text", "silent", "short", "twenty-minutes", "too-few-samples"],
)
def test_a_clip_that_cannot_be_a_voice_is_refused_with_what_to_do(
    speaker: Terminal, make: Any, named: str
) -> None:
    make(speaker.folder / "bad.wav")
    done = speaker.simulates("tts", "Hello.", "--voice", "bad.wav", "--consent", "x")
    assert (done.code, done.error["code"]) == (8, "validation")
    assert named in done.error["message"]
    assert "ffmpeg -ss" in done.error["hint"]
    assert not speaker.sim_folder.exists(), "it is refused before anything is started"


def test_a_poor_clip_is_taken_with_a_warning_for_each_weakness(speaker: Terminal) -> None:
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
    speaker: Terminal, argv: tuple[str, ...], code: int, named: str
) -> None:
    given = (*argv, "--consent", "x") if argv[-1] != "tts" else argv
    done = speaker.simulates(*given)
    assert done.code == code
    assert named in done.error["message"]
    assert not list(speaker.sim_folder.glob("pods/*"))


def test_a_text_from_a_file_and_from_stdin_is_spoken(
    speaker: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    (speaker.folder / "t.txt").write_bytes("\ufeffOne line.\r\n\r\nTwo lines.".encode())
    argv = ("--dry-run", "tts", "--voice", "me.wav", "--max-chars", "50")
    by_file = speaker.simulates(*argv, "--file", "t.txt").data["input"]["text"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("One line.\n\nTwo lines.\n"))
    by_pipe = speaker.simulates(*argv, "-").data
    assert by_file == by_pipe["input"]["text"] == "One line.\n\nTwo lines."


def test_without_ffmpeg_the_remedy_is_named(
    speaker: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = speaker.home / "bare"
    bare.mkdir()
    monkeypatch.setenv("PATH", str(bare))
    done = speaker.simulates("tts", "Hello.", "--voice", "me.wav", "--consent", "x")
    assert done.error["code"] == "missing_dependency"
    assert "apt install ffmpeg" in done.error["hint"]


def test_a_voice_in_a_films_sound_is_taken(speaker: Terminal) -> None:
    film = speaker.folder / "me.mp4"
    argv = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "color=black:s=64x64:d=6", "-i"]
    subprocess.run([*argv, "me.wav", "-shortest", str(film)], cwd=speaker.folder, check=True)
    made = speaker.types("--json", "voices", "add", "me", "me.mp4", "--consent", "mine").data
    assert made["duration_s"] == pytest.approx(6.0, abs=0.2)
