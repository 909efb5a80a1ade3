"""What our own image asks of a machine, as it was read from its registry when it was pushed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gpuctl.config import Settings
from gpuctl.errors import ApiError, ConfigError, CredentialsError, NotFound
from gpuctl.images import references
from gpuctl.models import Need, Report
from gpuctl.services import image_inspection, image_refs
from gpuctl.services.image_access import Access
from gpuctl.state import State


def as_pushed(settings: Settings, state: State, workload: str, need: Need) -> Need:
    """`need` with the CUDA version of its image, where the image was pushed from here and nobody
    has set `<workload>.min_cuda`. A default there was written for another image.

    Asks no registry: `gpuctl push` has recorded it.
    """
    set_keys = {key for key, each in settings.items() if each.value and each.origin != "default"}
    record = image_refs.record_of(state, need.image)
    told = record.get("min_cuda") if record and record.get("digest") else None
    if not told or f"{workload}.min_cuda" in set_keys:
        return need
    return replace(need, min_cuda=str(told))


def must_be_there(
    settings: Settings,
    state: State,
    workload: str,
    image: str,
    access: Callable[[], Access],
    report: Report,
) -> None:
    """A machine whose image nobody has pushed boots, and bills, until its boot limit.

    Asked only of images under our own name that were not pushed from this computer. Raises
    NotFound when the registry says that it has none; a registry that does not answer is no reason.
    """
    if settings.value("dockerhub.username").origin == "the simulator":
        return  # its pods run these scripts, whoever built their image: a first try needs no build
    if image_refs.recorded(state, image) or not _is_ours(settings, workload, image):
        return
    try:
        found = image_inspection.digest(image, access())
    except (ApiError, CredentialsError) as error:
        report.warn(f"whether {image} was pushed could not be asked: {error.message}")
        return
    if found is None:
        raise NotFound(
            f"{image} is not in its registry: a machine would wait for it in vain",
            hint=f"gpuctl build {workload}, then gpuctl push {workload} (with --slim or --full)",
        )


def _is_ours(settings: Settings, workload: str, image: str) -> bool:
    wanted = str(references.parsed(image))
    try:
        return wanted in {
            image_refs.reference(settings, workload, each) for each in image_refs.VARIANTS
        }
    except ConfigError:
        return False
