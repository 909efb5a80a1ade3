"""Interleaved rounds, medians of ratios, and the goals they are held to."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# Seconds that an action measured itself, or None to have the whole call timed.
Action = Callable[[], float | None]


@dataclass(frozen=True, slots=True)
class Row:
    """One figure and the goal it is held to. `limit` None: shown for information only."""

    goal: str
    what: str
    value: float
    limit: float | None = None
    at_least: bool = False
    unit: str = "x"
    note: str = ""

    @property
    def verdict(self) -> str:
        if self.limit is None:
            return ""
        met = self.value >= self.limit if self.at_least else self.value <= self.limit
        return "met" if met else "NOT MET"

    def cells(self) -> tuple[str, ...]:
        sign = "≥" if self.at_least else "≤"
        limit = "" if self.limit is None else f"{sign} {_figure(self.limit)}{self.unit}"
        return self.goal, self.what, f"{_figure(self.value)}{self.unit}", limit, self.verdict


@dataclass(frozen=True, slots=True)
class Rounds:
    """Seconds of each action, round by round."""

    times: Mapping[str, Sequence[float]]

    def ms(self, name: str) -> float:
        return statistics.median(self.times[name]) * 1000

    def ratio(self, name: str, baseline: str) -> float:
        """Median of the ratios within each round: what else the machine did hits both alike."""
        pairs = zip(self.times[name], self.times[baseline], strict=True)
        return statistics.median(one / other for one, other in pairs)

    def note(self, *names: str) -> str:
        return ", ".join(f"{name} {self.ms(name):.0f} ms" for name in names or self.times)


def interleave(actions: Mapping[str, Action], rounds: int, *, warm_up: int = 1) -> Rounds:
    """Runs every action once per round, in turn; the first `warm_up` rounds are not counted."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for number in range(warm_up + rounds):
        for name, action in actions.items():
            began = time.perf_counter()
            own = action()
            took = time.perf_counter() - began if own is None else own
            if number >= warm_up:
                times[name].append(took)
    return Rounds(times)


def command(
    argv: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Callable[[], None]:
    """An action that runs `argv` to its end and insists on exit code 0."""
    words = [str(word) for word in argv]

    def run() -> None:
        done = subprocess.run(
            words, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True
        )
        if done.returncode != 0:
            text = (done.stderr + done.stdout).decode(errors="replace")[-2000:]
            raise RuntimeError(f"{' '.join(words)} ended with {done.returncode}:\n{text}")

    return run


def private_environment(home: Path) -> dict[str, str]:
    """A home of its own, .pyc files allowed: without them a start takes three times as long."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return {
        **kept,
        "HOME": str(home),
        "XDG_STATE_HOME": str(home / "state"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "NO_COLOR": "1",
    }


def table(rows: Sequence[Row]) -> str:
    """The rows as aligned text, notes behind."""
    cells = [("goal", "what", "measured", "limit", "verdict"), *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    notes = ["", *(row.note for row in rows)]
    lines = []
    for line, note in zip(cells, notes, strict=True):
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        lines.append(f"{text}  {note}".rstrip())
    return "\n".join(lines)


def _figure(value: float) -> str:
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
