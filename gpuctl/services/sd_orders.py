"""From wishes and files to checked orders for Automatic1111. Starts nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gpuctl.config import Settings
from gpuctl.errors import UsageError
from gpuctl.models import Json
from gpuctl.services import destinations, sd_meter
from gpuctl.services.destinations import Destination
from gpuctl.services.generating import Order
from gpuctl.workloads import sd
from gpuctl.workloads.sd import Choices


@dataclass(frozen=True, slots=True)
class Plan:
    """A checked order, what should be said about it, and how its prompts will be read."""

    order: Order
    notes: tuple[str, ...]
    meters: Mapping[str, sd_meter.Chunks] = field(default_factory=dict)

    def meter_line(self) -> str:
        return " · ".join(f"{name} {chunks.line()}" for name, chunks in self.meters.items())

    def to_json(self) -> Json:
        return {name: chunks.to_json() for name, chunks in self.meters.items()}


def plan(
    choices: Choices, destination: Destination, inputs: Mapping[str, Path], cell: str = ""
) -> Plan:
    """Raises UsageError for what cannot be meant. `inputs` are what `choices` names; `cell` tells
    the pictures of a grid apart."""
    request = sd.resolve(choices)
    texts = {"prompt": request.input["prompt"], "negative": request.input["negative_prompt"]}
    meters = {name: sd_meter.measure(text) for name, text in texts.items() if text}
    told = {
        "prompt": choices.prompt,
        "cell": cell,
        # Where the pictures came from: another machine will need them for a replay.
        "receipt": {"inputs": {name: str(path.absolute()) for name, path in inputs.items()}}
        if inputs
        else {},
    }
    order = Order(sd.NAME, request.input, destination, inputs, told)
    return Plan(order, request.notes, meters)


def destination(out: str | None, settings: Settings) -> Destination:
    """`--out`, else the configured folder. Raises UsageError."""
    return destinations.plan(out, settings.path("sd.output_dir"), (*sd.FORMATS, "jpeg"))


def named(path: Path, inputs: dict[str, Path]) -> str:
    """The file's name on the worker; it is put down as an input. Raises NotFound, UsageError."""
    from gpuctl.services.inputs import content_name  # noqa: PLC0415  only with a picture

    name = content_name(path)
    inputs[name] = path
    return name


def api_order(
    api: str,
    settings: Settings,
    fields: Json | None = None,
    inputs: Mapping[str, Path] | None = None,
    *,
    out: str | None = None,
    told: Json | None = None,
) -> Order:
    """Anything of the API that paints nothing: lists, options, png-info, upscale."""
    body = {"caller": "gpuctl", "api": api, **(fields or {})}
    return Order(sd.NAME, body, destination(out, settings), inputs or {}, told or {})


def pairs(texts: Sequence[str], option: str) -> dict[str, Any]:
    """KEY=VALUE, the value read as JSON where it is some. Raises UsageError."""
    found: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise UsageError(
                f"{option} wants KEY=VALUE, not '{text}'", hint=f"{option} tiling=true"
            )
        found[key.strip()] = _value(value, text)
    return found


def settings_of(texts: Sequence[str], choices: Choices) -> Choices:
    """`--set KEY=VALUE` is a key of the request, `--set options.KEY=VALUE` one of the WebUI's
    options for this picture alone. Raises UsageError."""
    found = pairs(texts, "--set")
    mark = "options."
    options = {key.removeprefix(mark): v for key, v in found.items() if key.startswith(mark)}
    plain = {key: value for key, value in found.items() if not key.startswith(mark)}
    return replace(choices, settings=plain, options=options)


def _value(text: str, whole: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        raise UsageError(f"'{whole}' is not a number that can be sent")
    return value
