"""The part of the context that leads jobs to where they run: machine, service or queue."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gpuctl.errors import UsageError
from gpuctl.models import ENDPOINT_PROVIDER, Machine

if TYPE_CHECKING:
    from gpuctl.config import Settings
    from gpuctl.console import Console
    from gpuctl.services.links import MachineLink
    from gpuctl.services.queue_link import QueueLink
    from gpuctl.services.service_link import ServiceLink
    from gpuctl.services.waiting import Clock

VIAS = ("tunnel", "proxy")
# The provider of a service that is known by its address alone.
SERVICE = "service"


class ServiceContext:
    """Mixed into Context. Nothing is opened before use."""

    if TYPE_CHECKING:
        console: Console

        @property
        def settings(self) -> Settings: ...
        @property
        def clock(self) -> Clock: ...
        @property
        def workspace(self) -> str | None: ...
        def link(self, machine: Machine) -> MachineLink: ...
        def queue_link(self, machine: Machine) -> QueueLink: ...

    def job_link(self, target: Machine, workload: str) -> MachineLink | QueueLink | ServiceLink:
        """What jobs of `workload` travel over: HTTP to its service, a queue, or ssh. A machine
        that was rented for one workload may be asked to do another."""
        if target.provider == ENDPOINT_PROVIDER:
            return self.queue_link(target)
        if target.provider == SERVICE or workload == "video":
            return self.service_link(target)
        return self.link(target)

    def service_link(self, machine: Machine) -> ServiceLink:
        """The machine's video service: through ssh, by RunPod's proxy, or at its own address.

        Raises UsageError.
        """
        from gpuctl.services.service_link import ServiceLink  # noqa: PLC0415  only for a service
        from gpuctl.workloads import video  # noqa: PLC0415  likewise

        url = self._service_url(machine)
        is_here = machine.id == "local" and self.workspace is None
        return ServiceLink(
            machine,
            None if url else self.link(machine),
            workload=video.NAME,
            port=video.PORT,
            url=url,
            token=self.settings.secret("video.token"),
            workspace=str(Path.home() / ".gpuctl") if is_here else self.workspace,
            clock=self.clock,
            limit_s=self.settings.number("deploy.canary_limit_s"),
            report=self.console,
        )

    def _service_url(self, machine: Machine) -> str | None:
        """None: through a tunnel."""
        from gpuctl.workloads import video  # noqa: PLC0415  only for a service

        if machine.provider == SERVICE:
            return machine.id
        via = self.settings.text("video.via")
        if via not in VIAS:
            raise UsageError(f"video.via is '{via}'", hint=f"one of {', '.join(VIAS)}")
        if via == "tunnel" or machine.provider != "runpod":
            return None
        if not self.settings.secret("video.token"):
            raise UsageError(
                "the proxy's address is open to everybody: it is used with a token alone",
                hint="gpuctl config set video.token, and deploy again; or video.via: tunnel",
            )
        return video.proxy_url(machine.id)
