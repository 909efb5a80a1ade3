"""The one polling loop, and the clock it waits by."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from gpuctl.errors import TimedOut

T = TypeVar("T")

RESOLUTION_S = 0.001
FIRST_PAUSE_S = 0.25


class Clock(Protocol):
    """Time as services see it: Unix seconds, and a pause."""

    def now(self) -> float: ...
    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The computer's clock. Wall time, because a machine bills while this computer is asleep."""

    def now(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds))


def wait_for(
    check: Callable[[], T | None],
    *,
    timeout_s: float,
    every_s: float,
    clock: Clock,
    on_wait: Callable[[float], None] | None = None,
    what: str = "it",
) -> T:
    """Calls `check` until it gives something other than None, and returns that.

    Checks at once, then after pauses that grow with the wait up to `every_s`, and a last time at
    the limit; `on_wait` is told the seconds waited so far before each pause.
    Raises TimedOut, and whatever `check` raises.
    """
    began = clock.now()
    while True:
        found = check()
        if found is not None:
            return found
        waited_s = clock.now() - began
        # Unix seconds in a float resolve 0.2 µs: a rest shorter than that would never pass.
        if waited_s > timeout_s - RESOLUTION_S:
            raise TimedOut(f"waited {waited_s:.0f} s for {what}")
        if on_wait is not None:
            on_wait(waited_s)
        clock.sleep(min(every_s, max(FIRST_PAUSE_S, waited_s / 4), timeout_s - waited_s))
