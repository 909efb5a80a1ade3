"""From a wish to a checked order for pictures. Starts nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from gpuctl.services import destinations
from gpuctl.services.destinations import Destination
from gpuctl.services.prompts import Meter, meter
from gpuctl.workloads import flux
from gpuctl.workloads.flux import Choices, Lora, Request
from gpuctl.workloads.flux_models import Tables

WORKSPACE = "/workspace/"


@dataclass(frozen=True, slots=True)
class Wish:
    """What the operator typed."""

    choices: Choices
    enhance: bool = False
    out: str | None = None
    on: str | None = None
    detach: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """A checked order. `inputs`: name in the machine's workspace → local file."""

    request: Request
    destination: Destination
    inputs: Mapping[str, Path] = field(default_factory=dict)


def plan(wish: Wish, tables: Tables, output_folder: Path) -> Plan:
    """Checks everything that can be checked here. Raises UsageError, NotFound; starts nothing."""
    inputs: dict[str, Path] = {}
    choices = wish.choices
    if choices.init_image is not None:
        choices = replace(choices, init_image=_input(choices.init_image, inputs))
    choices = replace(choices, loras=tuple(_lora(lora, inputs) for lora in choices.loras))
    request = flux.resolve(choices, tables)
    destination = destinations.plan(wish.out, output_folder, (*flux.FORMATS, "jpeg"))
    return Plan(request, destination, inputs)


def _input(text: str, inputs: dict[str, Path]) -> str:
    from gpuctl.services.inputs import content_name  # noqa: PLC0415  only with --init or a file

    path = Path(text).expanduser()
    name = content_name(path)
    inputs[name] = path
    return name


def _lora(lora: Lora, inputs: dict[str, Path]) -> Lora:
    """A file here travels; one under /workspace is there already; the rest are repositories."""
    if lora.source.startswith(WORKSPACE):
        return replace(lora, source=lora.source.removeprefix(WORKSPACE))
    if lora.source.endswith(".safetensors") or lora.source.startswith((".", "/", "~")):
        return replace(lora, source=_input(lora.source, inputs))
    return lora


def read_by_encoders(request: Request, text: str) -> tuple[Request, Meter]:
    """The order with what CLIP and the text encoder will read of `text`."""
    measured = meter(
        text, clip_limit=request.model.clip_tokens, text_limit=request.model.text_tokens
    )
    return request.with_prompt(text, measured.clip_prompt), measured
