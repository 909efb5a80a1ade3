"""Work on a machine's files that goes on after a dropped connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from gpuctl.errors import ConnectionFailed, HostKeyChanged
from gpuctl.models import Report
from gpuctl.remote.trees import RemoteTrees
from gpuctl.services.jobs import come_back
from gpuctl.services.links import MachineLink
from gpuctl.services.waiting import Clock

Done = TypeVar("Done")

Trees = RemoteTrees

# A link that drops so often brings nothing home.
MOST_ATTEMPTS = 10


def persistently(
    link: MachineLink,
    workspace: str | None,
    action: Callable[[RemoteTrees], Done],
    *,
    clock: Clock,
    limit_s: float,
    report: Report,
) -> Done:
    """Runs `action`, and again on a fresh connection when one is lost; it must be repeatable.

    Raises ConnectionFailed when the machine stayed unreachable for `limit_s`.
    """
    shell = link.open()
    for _ in range(MOST_ATTEMPTS):
        try:
            return action(RemoteTrees(shell, workspace))
        except HostKeyChanged:
            raise
        except ConnectionFailed as failure:
            report.warn(f"connection lost ({failure.message}); going on where it stopped")
            come_back(link, clock=clock, limit_s=limit_s, report=report)
            shell = link.open()
    raise ConnectionFailed(
        f"the connection was lost {MOST_ATTEMPTS} times", hint="the same command goes on from here"
    )
