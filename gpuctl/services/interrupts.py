"""Holds Ctrl-C back while a call is under way whose outcome must be known."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from gpuctl.errors import StillBilling
from gpuctl.models import Report


@contextmanager
def held(report: Report) -> Iterator[None]:
    """Ctrl-C inside the block is raised at its end, whatever that is; a second one at once.

    Only the main thread gets signals: elsewhere this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        del frame
        came.append(number)
        if len(came) > 1:
            raise KeyboardInterrupt
        with suppress(RuntimeError):  # the signal may have come in the middle of a write
            report.note("finishing the call that is under way; Ctrl-C again stops at once")

    before = signal.signal(signal.SIGINT, remember)
    try:
        yield
    except StillBilling:
        came.clear()  # says more than "interrupted" does, and has the exit code that says: act
        raise
    finally:
        signal.signal(signal.SIGINT, before)
        if came:
            raise KeyboardInterrupt
