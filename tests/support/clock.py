"""Clocks for tests: minutes pass in milliseconds."""

from __future__ import annotations

import threading
import time


class JumpingClock:
    """`sleep` moves the time on at once. `pauses` has every pause that was asked for."""

    def __init__(self, now: float | None = None) -> None:
        self._now = time.time() if now is None else now
        self.pauses: list[float] = []

    def now(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self._now += seconds


class HurriedClock(JumpingClock):
    """The same, with a breath for the process at the other end, a hundredth of the pause."""

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        threading.Event().wait(min(seconds / 100, 0.05))
