"""The one error boundary: exit codes, envelopes, crashes, global options, mistakes."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpuctl import cli
from gpuctl.cli import main, take_global_options
from gpuctl.console import Console, Options
from gpuctl.context import Context
from gpuctl.models import Secret


def a_context() -> tuple[Context, io.StringIO, io.StringIO]:
    out, err = io.StringIO(), io.StringIO()
    context = Context(Console(stdout=out, stderr=err))
    return context, out, err


@pytest.mark.parametrize(
    "argv",
    [
        ["--json", "--dry-run", "flux", "a fox", "--fast"],
        ["flux", "--json", "a fox", "--dry-run", "--fast"],
        ["flux", "a fox", "--fast", "--dry-run", "--json"],
    ],
)
def test_global_options_work_anywhere(argv: list[str]) -> None:
    context, out, _ = a_context()
    assert main(argv, context=context) == 0
    envelope = json.loads(out.getvalue())
    assert envelope["command"] == "flux"
    assert envelope["data"]["input"]["model"]["name"] == "flux-schnell"


def test_what_follows_two_dashes_is_left_alone() -> None:
    taken = take_global_options(["exec", "-q", "--", "ls", "--json", "-v"])
    assert taken.options == Options(quiet=True)
    assert taken.argv == ["exec", "--", "ls", "--json", "-v"]


@pytest.mark.parametrize(
    ("argv", "code", "said", "hint"),
    [
        (["flxu"], 2, "there is no command 'flxu'", "did you mean: gpuctl flux"),
        (["--jsn"], 2, "there is no option --jsn here", "gpuctl --help"),
        (["flux"], 2, "give a prompt, or --prompt-file FILE", '"…", or - to read stdin'),
        (["flux", " "], 2, "the prompt is empty", None),
        (["flux", "x", "--size", "3x"], 2, "'3x' is not a size", "use WIDTHxHEIGHT"),
        (
            ["flux", "x", "--out", "a.bmp"],
            2,
            "--out a.bmp: '.bmp' is not a format that it makes",
            "use png",
        ),
        (["flux", "x", "--init", "no.png"], 3, "there is no file no.png", None),
        (["flux", "x", "--prompt-file", "no"], 2, "give a prompt", None),
        (["flux", "x"], 3, "there is no machine for flux yet", "gpuctl deploy flux"),
        (["flux", "x", "--on", "nobody"], 3, "there is no machine called 'nobody'", None),
        (["jobs", "show", "01XYZ"], 3, "no job '01XYZ'", "gpuctl jobs list"),
        (["config", "get", "flux.guidnce"], 2, "flux.guidnce", "did you mean flux.guidance?"),
        (["help", "exits"], 2, "there is no help topic 'exits'", "topics: exit-codes"),
        (["replay", "no.png"], 3, "there is no file no.png", None),
        (["config", "set", "runpod.api_key", "x"], 2, "is a secret", "asks for it"),
    ],
)
def test_a_mistake_says_what_happened_and_what_to_type_next(
    private_home: Path, argv: list[str], code: int, said: str, hint: str | None
) -> None:
    context, out, err = a_context()
    assert main(argv, context=context) == code
    assert out.getvalue() == ""
    error, *rest = err.getvalue().splitlines()
    assert error.startswith("error: ")
    assert said in error
    if hint is not None:
        assert rest[0].startswith("  next: ")
        assert hint in rest[0]
    context, out, _ = a_context()
    assert main(["--json", *argv], context=context) == code
    envelope = json.loads(out.getvalue())
    assert envelope["ok"] is False
    assert said in envelope["error"]["message"]
    assert not (private_home / "project" / "outputs").exists(), "nothing was started"


def test_a_mistyped_option_is_answered_in_the_envelope_too() -> None:
    context, out, _ = a_context()
    assert main(["flux", "x", "--stepz", "3", "--json"], context=context) == 2
    error = json.loads(out.getvalue())["error"]
    assert error["code"] == "usage"
    assert "--steps" in error["message"]
    assert error["hint"] == "gpuctl flux --help"


def test_a_key_file_that_is_missing_is_named(private_home: Path) -> None:
    context, _, err = a_context()
    assert main(["flux", "x", "--on", "root@127.0.0.1:1"], context=context) == 4
    assert str(private_home / ".ssh/id_ed25519") in err.getvalue()
    assert "ssh-keygen" in err.getvalue()


def test_a_crash_becomes_a_redacted_report(
    private_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> int:
        raise ZeroDivisionError("the key is my-secret-value")

    monkeypatch.setattr(cli, "_run", broken)
    context, out, err = a_context()
    context.console.redact.learn(Secret("my-secret-value"))
    assert main(["flux", "x"], context=context) == 1
    assert out.getvalue() == ""
    assert err.getvalue().startswith("error: gpuctl broke: ZeroDivisionError: the key is ***\n")
    (report,) = private_home.rglob("crash-*.txt")
    assert str(report) in err.getvalue()
    text = report.read_text()
    assert "my-secret-value" not in text
    assert "ZeroDivisionError" in text
    assert "in broken" in text
    assert report.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_what_the_disk_refuses_is_no_crash(
    private_home: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refused(*_: object) -> int:
        raise OSError(number, os.strerror(number), "/somewhere/state.db")

    monkeypatch.setattr(cli, "_run", refused)
    context, _, err = a_context()
    assert main(["flux", "x"], context=context) == 1
    assert err.getvalue().startswith("error: this computer's disk refuses: /somewhere/state.db (")
    assert "gpuctl status" in err.getvalue()
    assert not list(private_home.rglob("crash-*"))


def test_a_state_folder_that_is_none_is_named(private_home: Path) -> None:
    (private_home / "file").write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "gpuctl", "--sim", "flux", "x"],
        capture_output=True,
        text=True,
        env={**os.environ, "XDG_STATE_HOME": str(private_home / "file")},
    )
    assert done.returncode == 1
    assert "disk refuses" in done.stderr
    assert str(private_home / "file") in done.stderr


def test_a_crash_whose_text_raises_is_reported_all_the_same(
    private_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Silent(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    def broken(*_: object) -> int:
        raise Silent

    monkeypatch.setattr(cli, "_run", broken)
    context, _, err = a_context()
    assert main(["flux", "x"], context=context) == 1
    assert "gpuctl broke: Silent" in err.getvalue()


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "_run", broken)
    context, _, err = a_context()
    assert main(["flux", "x", "--debug"], context=context) == 1
    assert "Traceback (most recent call last)" in err.getvalue()


def test_a_closed_pipe_is_no_error() -> None:
    line = f"{sys.executable} -m gpuctl help environment | head -1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, env=os.environ
    )
    assert done.stderr == ""
    assert done.returncode == 0


@pytest.mark.parametrize("argv", [["--version"], ["flux", "--version"], ["-V"]])
def test_the_version_is_one_line(argv: list[str]) -> None:
    context, out, _ = a_context()
    assert main(argv, context=context) == 0
    assert out.getvalue().startswith("gpuctl 0.")


def test_help_for_a_command_is_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    context, _, _ = a_context()
    assert main(["help", "flux"], context=context) == 0
    assert "--quality" in capsys.readouterr().out


def test_a_secret_is_read_from_stdin_and_kept_private(private_home: Path) -> None:
    env_file = private_home / "project" / ".env"
    env_file.write_text("# mine\nOTHER=1\n")
    done = subprocess.run(
        [sys.executable, "-m", "gpuctl", "config", "set", "runpod.api_key"],
        input="rpa_ABCDEFGHIJKL\n",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert env_file.stat().st_mode & 0o777 == 0o600
    assert env_file.read_text().startswith("# mine\nOTHER=1\nRUNPOD_API_KEY=")
    context, out, _ = a_context()
    assert main(["config", "show", "runpod"], context=context) == 0
    assert "rpa_" not in out.getvalue()
    assert f"{env_file}:3" in out.getvalue()
