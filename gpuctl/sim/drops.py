"""The ssh-drop fault: when a connection is cut."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from gpuctl.sim.problems import Problem

UNITS = ("events", "bytes", "seconds")
EVENT_MARK = b'"event"'


@dataclass(slots=True)
class Drop:
    """Cuts after `left` events (stdout lines that hold an event), bytes either way, or seconds."""

    unit: str
    left: float
    _line: bytes = b""

    @classmethod
    def parse(cls, value: str | None) -> Drop:
        """Reads `events:N`, `bytes:N` or `seconds:N`. Raises Problem 422."""
        unit, _, number = (value or "events:1").partition(":")
        try:
            amount = float(number)
        except ValueError:
            amount = -1
        if unit not in UNITS or amount < 0:
            raise Problem(422, "bad fault", ["value: events:N, bytes:N or seconds:N"])
        return cls(unit, amount)

    def arm(self, cut: Callable[[], object]) -> None:
        if self.unit == "seconds":
            timer = threading.Timer(self.left, cut)
            timer.daemon = True
            timer.start()

    def output(self, data: bytes) -> int | None:
        """After how many bytes of `data` the connection is to be cut; None = not yet."""
        return self._count_events(data) if self.unit == "events" else self.input(data)

    def input(self, data: bytes) -> int | None:
        """As `output`, for what the client sends: only bytes count there."""
        if self.unit != "bytes":
            return None
        self.left -= len(data)
        return max(0, len(data) + int(self.left)) if self.left <= 0 else None

    def _count_events(self, data: bytes) -> int | None:
        position = 0
        while (end := data.find(b"\n", position)) >= 0:
            line = self._line + data[position:end]
            self._line, position = b"", end + 1
            self.left -= EVENT_MARK in line
            if self.left <= 0 and EVENT_MARK in line:
                return position
        self._line += data[position:]
        return None
