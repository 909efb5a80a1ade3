"""A connection to a machine's worker that can be made again after a drop."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from gpuctl.errors import ConnectionFailed
from gpuctl.models import Machine, Report, Secret
from gpuctl.remote.base import Runner, Shell
from gpuctl.services.connections import Connector


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """How the worker is run on the machine. `workspace` None = the machine's own default."""

    workspace: str | None
    python: str
    idle_s: int
    secrets: Mapping[str, Secret] = field(default_factory=dict)


class MachineLink:
    """Opens on first use; one connection at a time."""

    def __init__(
        self, connector: Connector, machine: Machine, options: WorkerOptions, report: Report
    ) -> None:
        self.machine = machine
        self._connector = connector
        self._options = options
        self._report = report
        self._shell: Shell | None = None
        self._runner: Runner | None = None

    def open(self) -> Shell:
        """The shell, connected. Raises ConnectionFailed, CredentialsError, HostKeyChanged."""
        if self._shell is None:
            self._shell = self._connector.connect(self.machine)
        return self._shell

    @property
    def runner(self) -> Runner:
        if self._runner is None:
            from gpuctl.remote.shell_runner import ShellRunner  # noqa: PLC0415  after the dial

            shell = self.open()
            options = self._options
            self._runner = ShellRunner(
                shell,
                workspace=options.workspace,
                python=options.python,
                idle_s=options.idle_s,
                secrets=options.secrets,
                report=self._report,
            )
        return self._runner

    def reopen(self) -> None:
        """A fresh connection in place of the lost one. Raises ConnectionFailed."""
        self.close()
        _ = self.runner

    def close(self) -> None:
        shell, self._shell, self._runner = self._shell, None, None
        if shell is not None:
            with suppress(ConnectionFailed, OSError):
                shell.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
