"""The phases of a rehearsal: each with its time, and with what the instance has cost so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

from gpuctl.models import Json, Report
from gpuctl.services.waiting import Clock


@dataclass(slots=True)
class Phase:
    """`usd` is what the instance cost until its end; `detail` what is worth saying."""

    name: str
    elapsed_s: float = 0.0
    usd: float | None = None
    detail: str = ""
    is_ok: bool = False

    def as_json(self) -> Json:
        return asdict(self)


@dataclass(slots=True)
class Phases:
    """`spent` tells the dollars so far, None while nothing is rented."""

    clock: Clock
    report: Report
    spent: Callable[[], float | None]
    done: list[Phase] = field(default_factory=list)

    @contextmanager
    def phase(self, name: str) -> Iterator[Phase]:
        """One line when it begins, one when it is over, whatever its end."""
        one, began = Phase(name), self.clock.now()
        self.report.step(name)
        try:
            yield one
            one.is_ok = True
        finally:
            one.elapsed_s, one.usd = round(self.clock.now() - began, 3), self.spent()
            self.done.append(one)
            self.report.note(_line(one))


def _line(phase: Phase) -> str:
    cents = "" if phase.usd is None else f"  {phase.usd * 100:.2f} ¢"
    detail = f"  {phase.detail}" if phase.detail else ""
    mark = "✓" if phase.is_ok else "✗"
    return f"{mark} {phase.name:<13} {phase.elapsed_s:7.1f} s{cents}{detail}"
