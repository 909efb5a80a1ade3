"""What every service that deals with machines works with."""

from __future__ import annotations

from dataclasses import dataclass

from gpuctl.models import Report
from gpuctl.providers.base import Provider
from gpuctl.services.waiting import Clock
from gpuctl.state import State


@dataclass(frozen=True, slots=True)
class Session:
    """A provider, this computer's memory, the clock, and where to say what happens."""

    provider: Provider
    state: State
    clock: Clock
    report: Report
