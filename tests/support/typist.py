"""Types commands in this process, which saves the start of an interpreter for each."""

from __future__ import annotations

import io

from gpuctl.cli import main
from gpuctl.console import Console
from gpuctl.context import Context
from gpuctl.services.waiting import Clock
from tests.journeys.conftest import Done


class _Keyboard(io.StringIO):
    """What a person types at a terminal."""

    def isatty(self) -> bool:
        return True


class Typist:
    """The environment is the test's own (monkeypatch.setenv). Asked nothing unless `typed`."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock

    def types(self, *argv: str, typed: str | None = None) -> Done:
        out, err = io.StringIO(), io.StringIO()
        keys = io.StringIO() if typed is None else _Keyboard(typed)
        console = Console(stdin=keys, stdout=out, stderr=err)
        code = main(argv, context=Context(console, clock=self._clock))
        return Done(code, out.getvalue(), err.getvalue())

    def simulates(self, *argv: str) -> Done:
        """The same command with --sim and --json."""
        return self.types("--sim", "--json", *argv)
