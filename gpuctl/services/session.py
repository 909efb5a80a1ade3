"""What every service that deals with machines works with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gpuctl.models import Machine, Report

if TYPE_CHECKING:
    from gpuctl.providers.base import Provider
    from gpuctl.services.waiting import Clock
    from gpuctl.state import State  # sqlite, 10 ms: not for `--help`


@dataclass(frozen=True, slots=True)
class Session:
    """A provider, this computer's memory, the clock, and where to say what happens."""

    provider: Provider
    state: State
    clock: Clock
    report: Report

    def read(self, machine: Machine) -> Machine:
        """The machine as the provider sees it now, remembered. Raises NotFound when it is gone."""
        seen = self.provider.get(machine.id)
        current = replace(
            seen, workload=seen.workload or machine.workload, name=seen.name or machine.name
        )
        if self.state.machine(current.id) != current:  # a write costs ten times a read
            self.state.remember(current)
        return current
