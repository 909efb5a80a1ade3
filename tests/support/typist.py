"""Types commands in this process, which saves the start of an interpreter for each."""

from __future__ import annotations

import io

from gpuctl.cli import main
from gpuctl.console import Console
from gpuctl.context import Context
from gpuctl.services.waiting import Clock
from tests.journeys.conftest import Done


class Typist:
    """The environment is the test's own (monkeypatch.setenv). Nobody can be asked anything."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock

    def types(self, *argv: str) -> Done:
        out, err = io.StringIO(), io.StringIO()
        console = Console(stdin=io.StringIO(), stdout=out, stderr=err)
        code = main(argv, context=Context(console, clock=self._clock))
        return Done(code, out.getvalue(), err.getvalue())

    def simulates(self, *argv: str) -> Done:
        """The same command with --sim and --json."""
        return self.types("--sim", "--json", *argv)
