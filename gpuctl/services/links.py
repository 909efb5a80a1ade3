"""A connection to a machine's worker that can be made again after a drop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from gpuctl.closing import Closing
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


class MachineLink(Closing):
    """Opens on first use; one connection at a time."""

    def __init__(
        self, connector: Connector, machine: Machine, options: WorkerOptions, report: Report
    ) -> None:
        self.machine = machine
        self._connector = connector
        self._options = options
        self._report = report
        self._shell: Shell | None = None
        self._dialled: _Dialled | None = None
        self._runner: Runner | None = None

    def dial(self, workload: str) -> None:
        """Begins to connect, and meanwhile reads what a job of `workload` needs to be sent.

        Raises nothing that the machine does: `open` and `runner` tell how it went.
        """
        self._dialled = _Dialled(partial(self._connector.connect, self.machine))
        from gpuctl.remote import scripts, shell_runner  # noqa: F401, PLC0415  behind the dialling

        _ = scripts.installed(workload).hash

    def open(self) -> Shell:
        """The shell, connected. Raises ConnectionFailed, CredentialsError, HostKeyChanged."""
        if self._shell is None:
            dialled, self._dialled = self._dialled, None
            self._shell = dialled.shell() if dialled else self._connector.connect(self.machine)
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
        if self._dialled is not None:
            self._dialled.close()
            self._dialled = None
        if shell is not None:
            with suppress(ConnectionFailed, OSError):
                shell.close()


class _Dialled:
    """A connection that is made in a thread: the first picture's 0.1 s of imports pass meanwhile.

    A daemon thread, because Ctrl-C must not wait for a machine that does not answer.
    """

    def __init__(self, connect: Callable[[], Shell]) -> None:
        self._connect = connect
        self._shell: Shell | None = None
        self._failure: BaseException | None = None
        self._is_closed = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="connect", daemon=True)
        self._thread.start()

    def shell(self) -> Shell:
        """Waits for it. Raises what connecting raised."""
        try:
            self._thread.join()
        except BaseException:
            self.close()
            raise
        if self._failure is not None:
            raise self._failure
        assert self._shell is not None
        return self._shell

    def close(self) -> None:
        """Lets go of what was or will be opened, without waiting for it."""
        with self._lock:
            self._is_closed = True
            shell = self._shell
        if shell is not None:
            shell.close()

    def _run(self) -> None:
        try:
            shell = self._connect()
        except BaseException as failure:  # noqa: BLE001  raised again by the one who waits
            self._failure = failure
            return
        with self._lock:
            self._shell = shell
            is_closed = self._is_closed
        if is_closed:
            shell.close()
