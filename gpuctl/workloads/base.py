"""What a workload is: a pure module that turns wishes into a job and names what it needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

from gpuctl.models import Json, Need

Place = Literal["machine", "endpoint", "service"]
"""How a job of it travels when nothing else is said: over ssh to a machine's resident worker,
through the queue of a serverless endpoint, or over HTTP to a service on a machine."""


class Workload(Protocol):
    """The members every workload module has. Modules are checked against it in the registry."""

    NAME: str
    TITLE: str
    COMMAND: str
    """What the operator types to use it; mostly its name."""
    EXAMPLE: str
    """A command line of it, without `gpuctl`, that a newcomer can try in the simulator."""
    PLACE: Place
    FORMATS: Mapping[str, str]
    """What it makes: file suffix → media type."""

    def need(self, section: Mapping[str, Any]) -> Need:
        """What a machine must have, from the workload's section of the configuration."""
        ...

    def file_name(self, order: Json, told: Json, artifact: Json) -> tuple[str, str]:
        """Stem and suffix of one result. `order` is the job's input, `told` what only this
        computer knows of the job, `artifact` the fields with which the worker announced it."""
        ...

    def summary(self, order: Json, metrics: Json, files: int) -> list[str]:
        """The parts of the line that stands under a finished job."""
        ...

    def canary_input(self, section: Mapping[str, Any]) -> Json | None:
        """The smallest real job, None when a machine is tried in another way."""
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
