"""What is rehearsed: an image by its digest, what its container is told, and how it is pulled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpuctl.images import references
from gpuctl.models import MachineRequest, Secret
from gpuctl.services import image_refs
from gpuctl.services.ec2_orders import Asked
from gpuctl.workloads import whisper

if TYPE_CHECKING:
    from gpuctl.config import Settings
    from gpuctl.state import State


@dataclass(frozen=True, slots=True)
class Order:
    """What is rehearsed. `digest` is what was pushed, None when only docker there can tell it.

    `env` is what the container is told: no secrets, for it is seen in the instance's processes.
    `login` is the registry account, asked for only where it is set.
    """

    request: MachineRequest
    variant: str
    asked: Asked
    digest: str | None
    env: Mapping[str, str]
    section: Mapping[str, object]
    is_pulled: bool = False
    is_kept: bool = False
    login: tuple[str, Secret] | None = None

    @property
    def workload(self) -> str:
        return self.request.workload

    @property
    def image(self) -> str:
        """By its digest where that is known: what is tried is what was pushed."""
        name = references.parsed(self.request.need.image)
        return str(name.at(self.digest) if self.digest else name)


def order(
    settings: Settings,
    state: State,
    request: MachineRequest,
    asked: Asked,
    section: Mapping[str, Any],
    *,
    variant: str,
    is_pulled: bool,
    is_kept: bool,
) -> Order:
    """An order with the digest that was pushed from here, and the account of the registry."""
    ref = references.parsed(request.need.image)
    user, token = settings.text_or_none("dockerhub.username"), settings.secret("dockerhub.token")
    own = settings.text("dockerhub.registry")
    told = whisper.environment(section) if request.workload == whisper.NAME else {}
    # Reached through a tunnel alone, the service needs no token; arguments are seen by everybody.
    told = {name: value for name, value in told.items() if "TOKEN" not in name}
    return Order(
        request=request,
        variant=variant,
        asked=asked,
        digest=ref.digest or image_refs.recorded(state, request.need.image),
        env={**told, "GPUCTL_WORKLOAD": request.workload},
        section=section,
        is_pulled=is_pulled,
        is_kept=is_kept,
        login=(user, token) if user and token and ref.registry == own else None,
    )
