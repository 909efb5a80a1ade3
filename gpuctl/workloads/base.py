"""What a workload is: a pure module that turns wishes into a job and names what it needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from gpuctl.models import Need


class Workload(Protocol):
    """The members every workload module has. Modules are checked against it in the registry."""

    NAME: str
    TITLE: str

    def need(self, section: Mapping[str, Any]) -> Need:
        """What a machine must have, from the workload's section of the configuration."""
        ...


def need(section: Mapping[str, Any]) -> Need:
    """The default: image, vram_gb, disk_gb, volume_gb and min_cuda as configured."""
    return Need(
        image=str(section["image"]),
        vram_gb=int(section["vram_gb"]),
        disk_gb=int(section["disk_gb"]),
        volume_gb=int(section["volume_gb"]),
        min_cuda=str(section["min_cuda"]) if section.get("min_cuda") else None,
    )
