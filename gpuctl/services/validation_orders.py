"""What is rehearsed: an image by its digest, what its container is told, and how it is pulled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpuctl.errors import ApiError, ConnectionFailed, CredentialsError, NotFound
from gpuctl.images import references
from gpuctl.models import MachineRequest, Report, Secret
from gpuctl.services import image_refs
from gpuctl.services.ec2_orders import Asked
from gpuctl.workloads import whisper

if TYPE_CHECKING:
    from gpuctl.config import Settings
    from gpuctl.services.image_access import Access
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
    registries: Access,
    report: Report,
) -> Order:
    """An order with the digest that its registry has, and the account there.

    Raises NotFound before anything is rented when there is no such image.
    """
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
        digest=ref.digest or _digest(state, request.need.image, registries, report),
        env={**told, "GPUCTL_WORKLOAD": request.workload},
        section=section,
        is_pulled=is_pulled,
        is_kept=is_kept,
        login=(user, token) if user and token and ref.registry == own else None,
    )


def _digest(state: State, image: str, registries: Access, report: Report) -> str | None:
    """As pushed from here, else as the registry says; None when it does not let us ask."""
    if known := image_refs.recorded(state, image):
        return known
    from gpuctl.services import image_inspection  # noqa: PLC0415  only when a registry is asked

    try:
        found = image_inspection.digest(image, registries)
    except (CredentialsError, ApiError, ConnectionFailed) as error:
        report.warn(f"which digest {image} has could not be asked: {error.message}")
        return None
    if found is None:
        raise NotFound(f"{image} is not in its registry", hint="gpuctl build, then gpuctl push")
    return found
