"""The part of the context that is about serverless endpoints and the bucket beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from pathlib import Path

    from gpuctl.clients.s3 import BucketAccess
    from gpuctl.config import Settings
    from gpuctl.console import Console
    from gpuctl.models import Endpoint, Machine, Secret
    from gpuctl.providers.base import Provider
    from gpuctl.providers.runpod_endpoints import RunpodEndpoints
    from gpuctl.services.endpoint_making import EndpointSession
    from gpuctl.services.queue_link import QueueLink
    from gpuctl.services.waiting import Clock
    from gpuctl.sim.launcher import Simulator
    from gpuctl.state import State


class EndpointContext:
    """Mixed into Context. Everything is made on first use."""

    if TYPE_CHECKING:
        console: Console

        @property
        def settings(self) -> Settings: ...
        @property
        def state(self) -> State: ...
        @property
        def clock(self) -> Clock: ...
        @property
        def is_sim(self) -> bool: ...
        @property
        def simulator(self) -> Simulator: ...
        @property
        def api_key(self) -> Secret | None: ...
        @property
        def state_folder(self) -> Path: ...
        def provider(self, name: str = "runpod") -> Provider: ...

    def endpoints(self) -> RunpodEndpoints:
        """The account's endpoints, over the same connection as its pods."""
        from gpuctl.providers.runpod import RunpodProvider  # noqa: PLC0415  only for endpoints
        from gpuctl.providers.runpod_endpoints import RunpodEndpoints  # noqa: PLC0415  likewise

        provider = self.provider("runpod")
        assert isinstance(provider, RunpodProvider)
        return RunpodEndpoints(provider.api)

    def endpoint_session(self) -> EndpointSession:
        from gpuctl.services.endpoint_making import EndpointSession  # noqa: PLC0415  likewise

        return EndpointSession(self.endpoints(), self.state, self.clock, self.console)

    def bucket(self) -> BucketAccess | None:
        """Where files go that are too large for a queue; None when none is configured."""
        from gpuctl.services.queue_link import bucket_access  # noqa: PLC0415  likewise

        settings = self.settings
        return bucket_access(
            settings.text_or_none("s3.bucket"),
            settings.text_or_none("s3.endpoint_url"),
            settings.text_or_none("s3.access_key_id"),
            settings.secret("s3.secret_access_key"),
            settings.text_or_none("s3.region"),
        )

    def queue_link(self, machine: Machine) -> QueueLink:
        """`machine` stands for an endpoint (services/endpoint_memory.as_machine)."""
        from gpuctl.providers.runpod_endpoints import endpoint_of  # noqa: PLC0415  likewise
        from gpuctl.services import durations, endpoint_memory  # noqa: PLC0415  likewise
        from gpuctl.services.queue_link import QueueLink, QueueOptions  # noqa: PLC0415  likewise

        known = endpoint_memory.by_id(self.state, machine.id)
        endpoint = known or endpoint_of({"id": machine.id, "name": machine.name})
        settings = self.settings
        options = QueueOptions(
            jobs_url=self._jobs_url(endpoint),
            key=self.api_key,
            results=self.state_folder / "queue",
            timeout_s=settings.number("runpod.timeout_s"),
            job_ttl_s=durations.parsed(settings.text("endpoint.job_ttl"), "endpoint.job_ttl"),
            diagnose_after_s=durations.parsed(
                settings.text("endpoint.diagnose_after"), "endpoint.diagnose_after"
            ),
            bucket=self.bucket(),
        )
        return QueueLink(endpoint, options, self.state, self.endpoints, self.clock, self.console)

    def _jobs_url(self, endpoint: Endpoint) -> str:
        """Where RunPod says that the queue is, if that is an address that may see the key."""
        escaped = quote(endpoint.id, safe="")
        if self.is_sim:
            # A simulator that was started again has another port than its endpoints remember.
            return f"{self.simulator.api_url.removesuffix('/v2')}/jobs/v2/{escaped}"
        told = (endpoint.run_url or "").removesuffix("/run")
        base = self.settings.text("runpod.jobs_url").rstrip("/")
        is_same_host = urlsplit(told).hostname == urlsplit(base).hostname
        return told if told and is_same_host else f"{base}/{escaped}"
