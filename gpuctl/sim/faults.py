"""What can be made to go wrong on purpose, and how often."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

from gpuctl.models import Json
from gpuctl.sim.kinds import FAULT_KINDS, LASTING
from gpuctl.sim.problems import Problem


@dataclass(slots=True)
class Fault:
    """`times` is how often it still strikes; -1 = until cleared. `value` depends on the kind."""

    kind: str
    times: int = 1
    value: str | None = None


class Faults:
    """The faults that wait to strike. Safe to use from every thread."""

    def __init__(self, faults: Iterable[Json], on_change: Callable[[], None]) -> None:
        self._lock = threading.Lock()
        self._faults = [Fault(**fault) for fault in faults]
        self._on_change = on_change

    def add(self, kind: str, times: int | None, value: str | None) -> None:
        """Raises Problem 422 for an unknown kind or a count below one."""
        if kind not in FAULT_KINDS:
            raise Problem(422, "unknown fault", [f"kind: one of {', '.join(FAULT_KINDS)}"])
        if times is not None and times < 1:
            raise Problem(422, "bad fault", ["times: at least 1"])
        lasting = kind in LASTING and times is None
        with self._lock:
            self._faults.append(Fault(kind, -1 if lasting else times or 1, value))
        self._on_change()

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()
        self._on_change()

    def peek(self, kind: str) -> Fault | None:
        with self._lock:
            return next((fault for fault in self._faults if fault.kind == kind), None)

    def take(self, kind: str, applies: Callable[[Fault], bool] = lambda _: True) -> Fault | None:
        """The first waiting fault of this kind that applies, counted down; None without one."""
        with self._lock:
            fault = next((f for f in self._faults if f.kind == kind and applies(f)), None)
            if fault is None:
                return None
            if fault.times > 0:
                fault.times -= 1
            if fault.times == 0:
                self._faults.remove(fault)
        self._on_change()
        return fault

    def as_json(self) -> list[Json]:
        with self._lock:
            return [asdict(fault) for fault in self._faults]
