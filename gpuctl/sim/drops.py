"""The ssh-drop fault: which connection is cut, and after what."""

from __future__ import annotations

import threading

from gpuctl.sim.faults import Fault, Faults
from gpuctl.sim.problems import Problem

KIND = "ssh-drop"
UNITS = ("events", "bytes", "seconds")
EVENT_MARK = b'"event"'


def parsed(value: str | None) -> tuple[str, float]:
    """Reads `events:N`, `bytes:N` or `seconds:N`. Raises Problem 422."""
    unit, _, number = (value or "events:1").partition(":")
    try:
        amount = float(number)
    except ValueError:
        amount = -1
    if unit not in UNITS or amount < 0:
        raise Problem(422, "bad fault", ["value: events:N, bytes:N or seconds:N"])
    return unit, amount


class Drops:
    """One for the whole simulator: the connection that carries the Nth event (or byte) is cut,
    whenever it was opened; the first to open is cut after N seconds."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._lock = threading.Lock()
        self._current: Fault | None = None
        self._times = 0
        self._left = 0.0

    @property
    def is_waiting(self) -> bool:
        return self._faults.peek(KIND) is not None

    def spend(self, unit: str, amount: float) -> float | None:
        """None while the connection may stay, else how much of `amount` still gets through."""
        with self._lock:
            if not self._is_due(unit):
                return None
            left = self._left
            if amount < left:
                self._left -= amount
                return None
            self._faults.take(KIND)
            return left

    def opened(self) -> float | None:
        """After how many seconds the connection just opened is to be cut; None = not."""
        with self._lock:
            if not self._is_due("seconds"):
                return None
            self._faults.take(KIND)
            return self._left

    def _is_due(self, unit: str) -> bool:
        fault = self._faults.peek(KIND)
        if fault is None:
            return False
        wanted, amount = parsed(fault.value)
        if fault is not self._current or fault.times != self._times:
            self._current, self._times, self._left = fault, fault.times, amount
        return wanted == unit


class Meter:
    """What one command sends and receives, held against the drops."""

    def __init__(self, drops: Drops) -> None:
        self._drops = drops
        self._line = b""

    def output(self, data: bytes) -> int | None:
        """After how many bytes of `data` the connection is to be cut; None = not yet."""
        if not self._drops.is_waiting:
            return None
        cut = self.input(data)
        return self._count_events(data) if cut is None else cut

    def input(self, data: bytes) -> int | None:
        """As `output`, for what the client sends: only bytes count there."""
        through = self._drops.spend("bytes", len(data)) if data else None
        return None if through is None else int(through)

    def _count_events(self, data: bytes) -> int | None:
        position = 0
        while (end := data.find(b"\n", position)) >= 0:
            line = self._line + data[position:end]
            self._line, position = b"", end + 1
            if EVENT_MARK in line and self._drops.spend("events", 1) is not None:
                return position
        self._line += data[position:]
        return None
