"""What our own image asks of a machine, as it was read from its registry when it was pushed."""

from __future__ import annotations

from dataclasses import replace

from gpuctl.config import Settings
from gpuctl.models import Need
from gpuctl.services import image_refs
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
