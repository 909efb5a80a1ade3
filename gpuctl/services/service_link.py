"""A workload's HTTP service as a link: through an SSH tunnel, or by an address with a token."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from gpuctl.closing import Closing
from gpuctl.errors import ConnectionFailed, JobFailed, TimedOut
from gpuctl.models import Machine, Report, Secret
from gpuctl.remote.base import Runner, Shell
from gpuctl.services.links import MachineLink
from gpuctl.services.waiting import Clock, wait_for

if TYPE_CHECKING:
    from gpuctl.clients.service_api import ServiceApi
    from gpuctl.remote.service_runner import ServiceRunner

# A service that was started by us: its packages may have to be installed first.
START_LIMIT_S = 300.0
POLL_S = 1.0


class ServiceLink(Closing):
    """Opens on first use. `link` None: the service is at `url`, and there is no tunnel.

    `limit_s` is how long a machine that still fetches its models is waited for.
    """

    def __init__(
        self,
        machine: Machine,
        link: MachineLink | None,
        *,
        workload: str,
        port: int,
        url: str | None = None,
        token: Secret | None = None,
        workspace: str | None = None,
        clock: Clock,
        limit_s: float,
        report: Report,
    ) -> None:
        self.machine = machine
        self._link, self._workload, self._port = link, workload, port
        self._url, self._token, self._workspace = url, token, workspace
        self._clock, self._limit_s, self._report = clock, limit_s, report
        self._runner: ServiceRunner | None = None
        self._open = ExitStack()

    def dial(self, workload: str) -> None:
        """Begins to connect; `runner` tells how it went."""
        if self._link is not None:
            self._link.dial(workload)

    def open(self) -> None:
        """Connects now. Raises as `runner` does."""
        self._opened()

    @property
    def runner(self) -> Runner:
        """Raises ConnectionFailed, CredentialsError, HostKeyChanged, JobFailed, TimedOut."""
        return self._opened()

    @property
    def api(self) -> ServiceApi:
        """The service itself, for what is no job. Raises as `runner` does."""
        return self._opened().api

    def reopen(self) -> None:
        """A fresh connection in place of the lost one. Raises ConnectionFailed."""
        self._drop()
        if self._link is not None:
            self._link.reopen()
        _ = self.runner

    def close(self) -> None:
        self._drop()
        if self._link is not None:
            self._link.close()

    def _opened(self) -> ServiceRunner:
        if self._runner is None:
            from gpuctl.clients.service_api import ServiceApi  # noqa: PLC0415  behind the dialling
            from gpuctl.remote.service_runner import ServiceRunner  # noqa: PLC0415  likewise

            api = ServiceApi(self._address(), self._token)
            self._open.callback(api.close)
            self._runner = ServiceRunner(api, self._report, self._clock.now)
        return self._runner

    def _address(self) -> str:
        if self._link is None:
            assert self._url is not None
            return self._url
        shell = self._link.open()
        if not shell.listens(self._port):
            self._ensure(shell)
        local = self._open.enter_context(shell.forward(self._port))
        return f"http://127.0.0.1:{local}"

    def _ensure(self, shell: Shell) -> None:
        """The machine's own start is waited for; where there is none, one is made."""
        from gpuctl.remote import service_start  # noqa: PLC0415  only for a machine without it

        began = self._clock.now()
        limit_s = START_LIMIT_S
        while not shell.listens(self._port):
            start = service_start.start(shell, self._workload, workspace=self._workspace)
            if start.is_ours:
                break
            self._report.step(f"{self.machine.name} is starting: {start.stage}")
            if self._clock.now() - began > self._limit_s:
                raise TimedOut(
                    f"{self.machine.name} was not ready after {self._limit_s:g} s ({start.stage})",
                    hint="gpuctl logs -f; allow more: gpuctl config set deploy.canary_limit_s",
                )
            self._clock.sleep(2 * POLL_S)
        self._report.step(f"starting the {self._workload} service on {self.machine.name}")
        try:
            wait_for(
                lambda: shell.listens(self._port) or None,
                timeout_s=limit_s,
                every_s=POLL_S,
                clock=self._clock,
                what="the service",
            )
        except TimedOut as late:
            said = service_start.log(shell, self._workload, workspace=self._workspace)
            raise JobFailed(
                f"the {self._workload} service did not start within {limit_s:g} s: {said}",
                worker_code="worker_died",
                hint=f"gpuctl ssh {self.machine.name}",
            ) from late

    def _drop(self) -> None:
        self._runner = None
        with suppress(ConnectionFailed, OSError):
            self._open.close()
        self._open = ExitStack()
