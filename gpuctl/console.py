"""The only door to stdout and stderr: results, progress, questions; for people and for scripts."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from gpuctl.errors import GpuctlError, UsageError
from gpuctl.models import Secret

if TYPE_CHECKING:
    from gpuctl.console_live import LiveLine, LiveText

SCHEMA = "gpuctl/1"

# Keys whose shape is public: RunPod, RunPod S3, Anthropic, Hugging Face, bearer headers.
_SHAPES = re.compile(
    r"\b(rpa_[A-Za-z0-9]{8,}|rps_[A-Za-z0-9]{8,}|sk-ant-[A-Za-z0-9_-]{8,}|hf_[A-Za-z0-9]{16,})"
    r"|(?<=[Bb]earer )[A-Za-z0-9._-]{8,}"
)
_STYLES = {"dim": "2", "bold": "1", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


@dataclass(frozen=True, slots=True)
class Options:
    """What the global options ask for. `color` None means: as the terminal is."""

    json: bool = False
    quiet: bool = False
    verbose: bool = False
    debug: bool = False
    color: bool | None = None
    no_input: bool = False
    yes: bool = False
    dry_run: bool = False
    sim: bool = False
    version: bool = False


class Redactor:
    """Replaces known secrets, and anything that looks like one, by ***."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def learn(self, secret: Secret | None) -> None:
        if secret and len(secret.reveal()) >= 6:
            self._known.add(secret.reveal())

    def __call__(self, text: str) -> str:
        for value in self._known:
            text = text.replace(value, "***")
        return _SHAPES.sub("***", text)


def wants_color(environ: Mapping[str, str], stream: TextIO, asked: bool | None) -> bool:
    """--no-color, then NO_COLOR, FORCE_COLOR, TERM=dumb, then whether it is a terminal."""
    if asked is not None:
        return asked
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return True
    return environ.get("TERM") != "dumb" and stream.isatty()


class Console:
    """Results go to stdout; everything else to stderr. Under --json stdout is one document."""

    def __init__(
        self,
        options: Options | None = None,
        *,
        stdin: TextIO | None = None,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.options = options or Options()
        self.redact = Redactor()
        self.command = ""
        self._in = stdin or sys.stdin
        self._out = stdout or sys.stdout
        self._err = stderr or sys.stderr
        environ = os.environ if environ is None else environ
        self._out_color = wants_color(environ, self._out, self.options.color)
        self._err_color = wants_color(environ, self._err, self.options.color)
        self._is_live = self._err.isatty() and environ.get("TERM") != "dumb"
        self._last_step = ""
        self._live: LiveLine | None = None
        self._screen: LiveText | None = None

    # What a command needs to know about its surroundings.

    @property
    def is_json(self) -> bool:
        return self.options.json

    @property
    def is_watched(self) -> bool:
        """A person is looking: both streams are terminals and JSON was not asked for."""
        return not self.is_json and self._out.isatty() and self._err.isatty()

    @property
    def can_ask(self) -> bool:
        return not self.options.no_input and not self.is_json and self._in.isatty()

    # stdout

    def result(
        self, data: Mapping[str, Any], text: str = "", *, changed: bool = False, ok: bool = True
    ) -> None:
        """The one result of a command: `data` for scripts, `text` for people."""
        if self.is_json:
            self._write(self._out, self._envelope(data, None, changed=changed, ok=ok) + "\n")
        elif text:
            self._end_line()
            self._write(self._out, text.rstrip("\n") + "\n")

    def redraw(self, text: str) -> None:
        """Text on a terminal that takes the place of the text before, until a result or a close."""
        if self._screen is None:
            from gpuctl.console_live import LiveText  # noqa: PLC0415  rich costs 50 ms

            self._screen = LiveText(self._out, color=self._out_color)
        self._screen.show(self.redact(text))

    def emit(self, line: Mapping[str, Any]) -> None:
        """One line of an NDJSON stream; only under --json."""
        if self.is_json:
            self._write(self._out, json.dumps(line, ensure_ascii=False) + "\n")

    def failure(self, error: GpuctlError) -> None:
        """The end of a command that did not work."""
        self._end_line()
        if self.is_json:
            described = {
                "code": error.code,
                "message": error.message,
                "hint": error.hint,
                "details": error.details,
            }
            self._write(self._out, self._envelope(None, described) + "\n")
            return
        self._error_line(self.style("error: ", "red") + error.message)
        if error.hint:
            self._error_line(self.style("  next: ", "cyan") + error.hint)

    def _envelope(
        self,
        data: Mapping[str, Any] | None,
        error: Mapping[str, Any] | None,
        *,
        changed: bool = False,
        ok: bool = True,
    ) -> str:
        return json.dumps(
            {
                "schema": SCHEMA,
                "ok": error is None and ok,
                "command": self.command,
                "data": data,
                "error": error,
                "changed": changed,
            },
            ensure_ascii=False,
            default=str,
        )

    # stderr

    def step(self, text: str) -> None:
        """A phase began. On a terminal it replaces the line of the phase before."""
        if self.options.quiet or text == self._last_step:
            return
        self._last_step = text
        if self._is_live:
            self._live_line().step(text)
        else:
            self._error_line(text)

    def note(self, text: str) -> None:
        if not self.options.quiet:
            self._error_line(text)

    def detail(self, text: str) -> None:
        if self.options.verbose or self.options.debug:
            self._error_line(self.style(text, "dim"))

    def warn(self, text: str) -> None:
        self._error_line(self.style("warning: ", "yellow") + text)

    def progress(self, stage: str, done: float, total: float | None) -> None:
        """How far a phase is. A bar on a terminal, a line per quarter elsewhere."""
        if self.options.quiet:
            return
        if not total:
            self.step(f"{stage} {done:g}")
            return
        if self._is_live:
            self._live_line().bar(stage, done, total)
        elif int(done / total * 4) > int(max(0.0, done - 1) / total * 4):
            self._error_line(f"{stage} {done:g}/{total:g}")

    # questions

    def confirm(self, question: str, *, flag: str = "--yes") -> bool:
        """Asks y/N; --yes says yes. Raises UsageError naming `flag` where nobody can answer."""
        if self.options.yes:
            return True
        answer = self._ask(f"{question} [y/N] ", flag)
        return answer.strip().lower() in ("y", "yes")

    def word(self, question: str, flag: str) -> str:
        """What is typed, for questions that --yes does not answer. Raises UsageError."""
        return self._ask(question, flag).strip()

    def choose(self, question: str, choices: Mapping[str, str], *, flag: str) -> str:
        """Asks for a letter of `choices`. Raises UsageError where nobody can answer."""
        listed = ", ".join(f"[{letter}] {meaning}" for letter, meaning in choices.items())
        while True:
            answer = self._ask(f"{question} {listed}: ", flag).strip().lower()[:1]
            if answer in choices:
                return answer

    def ask(self, question: str, *, flag: str) -> str:
        """Asks for a line of text. Raises UsageError naming `flag` where nobody can answer."""
        return self._ask(f"{question}: ", flag).strip()

    def ask_secret(self, question: str, *, flag: str) -> str:
        """Asks for text that is not shown. Raises UsageError naming `flag`."""
        from getpass import getpass  # noqa: PLC0415  only for the few who ask

        self._must_ask(question, flag)
        self._end_line()
        try:
            answer = getpass(f"{question}: ", stream=self._err).strip()
        except EOFError:
            raise UsageError("the input ended", hint=f"say it with {flag}") from None
        self.redact.learn(Secret(answer))
        return answer

    def _must_ask(self, question: str, flag: str) -> None:
        if not self.can_ask:
            raise UsageError(
                f"this needs an answer: {question.strip()}", hint=f"say it with {flag}"
            )

    def _ask(self, question: str, flag: str) -> str:
        self._must_ask(question, flag)
        self._end_line()
        self._write(self._err, question)
        answer = self._in.readline()
        if not answer:
            raise UsageError("the input ended before the answer", hint=f"say it with {flag}")
        return answer

    # plumbing

    def style(self, text: str, style: str) -> str:
        return f"\033[{_STYLES[style]}m{text}\033[0m" if self._err_color else text

    def style_result(self, text: str, style: str) -> str:
        """For text that goes to stdout through `result`."""
        return f"\033[{_STYLES[style]}m{text}\033[0m" if self._out_color else text

    def _live_line(self) -> LiveLine:
        if self._live is None:
            from gpuctl.console_live import LiveLine  # noqa: PLC0415  rich costs 50 ms

            self._live = LiveLine(self._err, color=self._err_color)
        return self._live

    def _end_line(self) -> None:
        if self._live is not None:
            self._live.stop()
        if self._screen is not None:
            self._screen.stop()
        self._last_step = ""

    def _error_line(self, text: str) -> None:
        if self._live is not None:
            self._live.line(self.redact(text))
        else:
            self._write(self._err, text + "\n")

    def close(self) -> None:
        """Takes the moving line off the terminal."""
        self._end_line()

    def _write(self, stream: TextIO, text: str) -> None:
        stream.write(self.redact(text))
        stream.flush()
