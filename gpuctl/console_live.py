"""The one moving line of a terminal: the current phase, with a bar where the end is known."""

from __future__ import annotations

import time
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

_DRAW_APART_S = 0.02


class LiveLine:
    """Draws on `stream` until `stop`; what is printed through `line` scrolls above it."""

    def __init__(self, stream: TextIO, *, color: bool) -> None:
        self._console = Console(
            file=stream, force_terminal=True, no_color=not color, highlight=False, markup=False
        )
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._stage = ""
        self._drawn_at_s = 0.0

    def step(self, text: str) -> None:
        self._start(text, None)

    def bar(self, stage: str, done: float, total: float) -> None:
        progress = self._start(stage, total)
        if self._task is not None:
            count = f"{done:g}/{total:g}"
            progress.update(
                self._task, completed=done, total=total, count=count, refresh=self._is_due()
            )

    def line(self, text: str) -> None:
        """`text` may carry ANSI styles."""
        self._console.print(Text.from_ansi(text), soft_wrap=True)

    def stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
        self._progress, self._task, self._stage = None, None, ""

    def _start(self, stage: str, total: float | None) -> Progress:
        kind = "bar" if total is not None else "step"
        if self._progress is None or kind != self._stage.partition(":")[0]:
            self.stop()
            self._progress = self._new_progress(with_bar=total is not None)
            self._progress.start()
        if self._stage != f"{kind}:{stage}":
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._task = self._progress.add_task(stage, total=total, count="")
            self._stage = f"{kind}:{stage}"
        return self._progress

    def _is_due(self) -> bool:
        """A step is seen at once, without the timer's wait; bytes come too often for that."""
        now = time.monotonic()
        is_due = now - self._drawn_at_s >= _DRAW_APART_S
        if is_due:
            self._drawn_at_s = now
        return is_due

    def _new_progress(self, *, with_bar: bool) -> Progress:
        columns = [SpinnerColumn(), TextColumn("{task.description}", markup=False)]
        if with_bar:
            columns += [BarColumn(bar_width=28), TextColumn("{task.fields[count]}")]
        return Progress(*columns, TimeElapsedColumn(), console=self._console, transient=True)


class LiveText:
    """Several lines on `stream`, redrawn in place; the last ones stay when it stops."""

    def __init__(self, stream: TextIO, *, color: bool) -> None:
        self._console = Console(
            file=stream, force_terminal=True, no_color=not color, highlight=False, markup=False
        )
        self._live: Live | None = None
        self._shown = Text()

    def show(self, text: str) -> None:
        """`text` may carry ANSI styles."""
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, redirect_stdout=False)
            self._live.start()
        self._shown = Text.from_ansi(text)
        # The cursor waits on a line of its own: the ^C that a terminal shows would move a full one.
        self._live.update(self._shown + "\n", refresh=True)

    def stop(self) -> None:
        if self._live is not None:
            self._live.update(self._shown)
            self._live.stop()
        self._live = None
