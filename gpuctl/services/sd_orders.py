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

# SD 1.5 is trained at 512²; above a megapixel it repeats what it paints.
MOST_PIXELS_UNASKED = 1_048_576


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


def picture(text: str, inputs: dict[str, Path], what: str) -> tuple[str, tuple[int, int]]:
    """A local picture as an input: its name on the worker and its size, upright.

    Raises NotFound, UsageError for what is no picture or is too large to be of use.
    """
    from gpuctl.services.inputs import content_name  # noqa: PLC0415  only with a picture

    path = Path(text).expanduser()
    name = content_name(path)
    size = _measured(path, what)
    inputs[name] = path
    return name, size


def fitting(size: tuple[int, int]) -> tuple[int, int]:
    """The size to paint a picture of `size` at when nothing was asked for: its shape, at most one
    megapixel, in steps of 8."""
    width, height = size
    scale = min(1.0, (MOST_PIXELS_UNASKED / (width * height)) ** 0.5)
    sides = (max(sd.MIN_SIDE, int(side * scale) // sd.MULTIPLE * sd.MULTIPLE) for side in size)
    width, height = sides
    return width, height


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


def _measured(path: Path, what: str) -> tuple[int, int]:
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415  only with a picture

    try:
        with Image.open(path) as file:
            width, height = file.size
            # Phones write a turned picture and say so in its EXIF.
            if file.getexif().get(0x0112, 1) >= 5:
                width, height = height, width
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError) as error:
        raise UsageError(
            f"{what} {path} cannot be read: {error}", hint="give a PNG, JPEG or WebP"
        ) from None
    if width * height > sd.MAX_PIXELS:
        raise UsageError(
            f"{what} {path} has {width}x{height} pixels ({width * height / 1e6:.1f} megapixels)",
            hint=f"{sd.MAX_PIXELS / 1e6:.1f} megapixels are the most: make it smaller first",
        )
    return width, height
