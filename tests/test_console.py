"""The one door to the terminal: what goes where, for people and for scripts."""

from __future__ import annotations

import io
import json

import pytest

from gpuctl.console import Console, Options, Redactor, wants_color
from gpuctl.errors import NotFound, UsageError
from gpuctl.models import Secret


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def a_console(
    options: Options | None = None, *, tty: bool = False, typed: str = ""
) -> tuple[Console, io.StringIO, io.StringIO]:
    kind = Terminal if tty else io.StringIO
    out, err = kind(), kind()
    stdin = kind(typed)
    console = Console(options, stdin=stdin, stdout=out, stderr=err, environ={"NO_COLOR": "1"})
    console.command = "flux"
    return console, out, err


def test_the_result_is_all_there_is_on_stdout() -> None:
    console, out, err = a_console()
    console.step("connecting")
    console.note("a note")
    console.warn("a warning")
    console.progress("denoise", 4, 4)
    console.result({"file": "a.png"}, "a.png")
    assert out.getvalue() == "a.png\n"
    assert err.getvalue() == "connecting\na note\nwarning: a warning\ndenoise 4/4\n"


def test_json_is_exactly_one_document_on_success_and_on_failure() -> None:
    console, out, _ = a_console(Options(json=True))
    console.result({"file": "a.png"}, "not this", changed=True)
    assert json.loads(out.getvalue()) == {
        "schema": "gpuctl/1",
        "ok": True,
        "command": "flux",
        "data": {"file": "a.png"},
        "error": None,
        "changed": True,
    }
    console, out, err = a_console(Options(json=True))
    console.failure(NotFound("no such job", hint="gpuctl jobs list", details={"job": "x"}))
    assert json.loads(out.getvalue()) == {
        "schema": "gpuctl/1",
        "ok": False,
        "command": "flux",
        "data": None,
        "error": {
            "code": "not_found",
            "message": "no such job",
            "hint": "gpuctl jobs list",
            "details": {"job": "x"},
        },
        "changed": False,
    }
    assert err.getvalue() == ""


def test_an_error_says_what_to_type_next() -> None:
    console, out, err = a_console()
    console.failure(NotFound("there is no job x", hint="gpuctl jobs list"))
    assert out.getvalue() == ""
    assert err.getvalue() == "error: there is no job x\n  next: gpuctl jobs list\n"


def test_quiet_keeps_results_warnings_and_errors_only() -> None:
    console, out, err = a_console(Options(quiet=True))
    console.step("connecting")
    console.note("note")
    console.progress("denoise", 1, 4)
    console.warn("careful")
    console.result({}, "done")
    assert (out.getvalue(), err.getvalue()) == ("done\n", "warning: careful\n")


def test_a_pipe_gets_a_line_per_quarter_and_no_escapes() -> None:
    console, _, err = a_console()
    for done in range(1, 21):
        console.progress("denoise", done, 20)
    assert err.getvalue() == "denoise 5/20\ndenoise 10/20\ndenoise 15/20\ndenoise 20/20\n"


def test_a_terminal_gets_one_moving_line_that_leaves_nothing_behind() -> None:
    console, out, err = a_console(tty=True)
    console.step("loading the model")
    console.progress("denoise", 3, 20)
    console.note("a note above it")
    console.result({}, "a.png")
    text = err.getvalue()
    assert "loading the model" in text
    assert "3/20" in text
    assert "a note above it" in text
    assert text.endswith("\x1b[2K") or "\x1b[?25h" in text
    assert out.getvalue() == "a.png\n"


def test_what_looks_like_a_key_or_is_known_as_one_is_never_shown() -> None:
    console, out, err = a_console()
    console.redact.learn(Secret("my-own-secret-value"))
    console.note("key rpa_ABCDEFGH1234 and my-own-secret-value and Bearer abcdefghijkl")
    console.result({}, "hf_ABCDEFGHIJKLMNOPQRST sk-ant-api03-abcdef")
    assert err.getvalue() == "key *** and *** and Bearer ***\n"
    assert out.getvalue() == "*** ***\n"
    assert f"{Secret('x')!r} {Secret('x')}" == "*** ***"
    assert Redactor()("a perfectly plain text") == "a perfectly plain text"


@pytest.mark.parametrize(
    ("environ", "tty", "asked", "expected"),
    [
        ({}, True, None, True),
        ({}, False, None, False),
        ({"NO_COLOR": "1"}, True, None, False),
        ({"NO_COLOR": ""}, True, None, True),
        ({"FORCE_COLOR": "1"}, False, None, True),
        ({"TERM": "dumb"}, True, None, False),
        ({"NO_COLOR": "1"}, True, True, True),
        ({"FORCE_COLOR": "1"}, True, False, False),
    ],
)
def test_colour_follows_flag_then_environment_then_terminal(
    environ: dict[str, str], tty: bool, asked: bool | None, expected: bool
) -> None:
    assert wants_color(environ, Terminal() if tty else io.StringIO(), asked) is expected


def test_nobody_is_asked_where_nobody_can_answer() -> None:
    for options in (Options(no_input=True), Options(json=True), Options()):
        console, _, _ = a_console(options, tty=options != Options())
        with pytest.raises(UsageError) as caught:
            console.confirm("Stop it?")
        assert caught.value.hint == "say it with --yes"
    console, _, _ = a_console(Options(yes=True))
    assert console.confirm("Stop it?")


@pytest.mark.parametrize(("typed", "expected"), [("y\n", True), ("YES\n", True), ("\n", False)])
def test_a_person_answers(typed: str, expected: bool) -> None:
    console, _, err = a_console(tty=True, typed=typed)
    assert console.confirm("Stop it?") is expected
    assert err.getvalue() == "Stop it? [y/N] "
