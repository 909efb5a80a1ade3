"""FLUX and its siblings: a prompt in, pictures out. Pure: no files, no network, no clock."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gpuctl.errors import UsageError
from gpuctl.models import Json
from gpuctl.workloads import base
from gpuctl.workloads.flux_models import Model, Tables

NAME = "flux"
TITLE = "text to image"
COMMAND = NAME
EXAMPLE = 'flux "a red fox in snow"'
PLACE: base.Place = "machine"
need = base.need

FORMATS = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}
ENGINES = ("auto", "bf16", "fp8", "nf4", "offload", "cpu")
MAX_PROMPT_CHARACTERS = 20_000
MAX_COUNT = 64
MAX_STEPS = 200
MAX_SEED = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Lora:
    """An adapter: a Hugging Face repository or a file under the machine's workspace."""

    source: str
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Choices:
    """What the operator asked for; None where nothing was said."""

    prompt: str
    preset: str
    size: str
    seed: int
    model: str | None = None
    default_model: str = "flux-dev"
    steps: int | None = None
    guidance: float | None = None
    guidance_name: str | None = None
    default_guidance: float = 3.5
    count: int = 1
    loras: tuple[Lora, ...] = ()
    init_image: str | None = None
    strength: float = 0.6
    format: str = "png"
    jpeg_quality: int = 95
    engine: str = "auto"


@dataclass(frozen=True, slots=True)
class Request:
    """A complete order. Pixels, steps and guidance as the pipeline gets them."""

    prompt: str
    clip_prompt: str | None
    model: Model
    preset: str
    width: int
    height: int
    steps: int
    guidance: float
    seed: int
    count: int
    format: str
    jpeg_quality: int
    engine: str
    loras: tuple[Lora, ...] = ()
    init_image: str | None = None
    strength: float = 0.6
    notes: tuple[str, ...] = ()

    def with_prompt(self, prompt: str, clip_prompt: str | None) -> Request:
        """The same order with the texts that the encoders will read."""
        return replace(self, prompt=prompt, clip_prompt=clip_prompt)

    def to_input(self) -> Json:
        """The job's `input`, as remote_scripts/flux/handler.py reads it."""
        return {
            "prompt": self.prompt,
            "clip_prompt": self.clip_prompt,
            "model": self.model.to_json(),
            "width": self.width,
            "height": self.height,
            "steps": self.steps,
            "guidance": self.guidance,
            "seed": self.seed,
            "count": self.count,
            "format": self.format,
            "jpeg_quality": self.jpeg_quality,
            "engine": self.engine,
            "loras": [{"source": lora.source, "weight": lora.weight} for lora in self.loras],
            "init_image": self.init_image,
            "strength": self.strength,
        }


def resolve(choices: Choices, tables: Tables) -> Request:
    """Turns wishes into an order; what was rounded is said in `notes`.

    Raises UsageError for anything the pipeline could not do, before anything is started.
    """
    _check(choices)
    preset = tables.preset(choices.preset)
    model = tables.model(choices.model or str(preset.get("model") or choices.default_model))
    width, height, notes = _geometry(tables.size(choices.size), model)
    if choices.init_image is not None and model.img2img is None:
        raise UsageError(
            f"{model.title} cannot start from a picture", hint="use --model flux-dev with --init"
        )
    return Request(
        prompt=choices.prompt,
        clip_prompt=None,
        model=model,
        preset=choices.preset,
        width=width,
        height=height,
        steps=_steps(choices, model, int(preset["steps"])),
        guidance=_guidance(choices, tables, model),
        seed=choices.seed,
        count=choices.count,
        format="jpg" if choices.format == "jpeg" else choices.format,
        jpeg_quality=choices.jpeg_quality,
        engine=choices.engine,
        loras=choices.loras,
        init_image=choices.init_image,
        strength=choices.strength,
        notes=tuple(notes),
    )


def _check(choices: Choices) -> None:
    if not choices.prompt.strip():
        raise UsageError("the prompt is empty", hint='gpuctl flux "a lighthouse at dusk"')
    if len(choices.prompt) > MAX_PROMPT_CHARACTERS:
        raise UsageError(
            f"the prompt has {len(choices.prompt)} characters; the limit is {MAX_PROMPT_CHARACTERS}"
        )
    if choices.format not in (*FORMATS, "jpeg"):
        raise UsageError(f"'{choices.format}' is not a format", hint="use png, jpg or webp")
    if choices.engine not in ENGINES:
        raise UsageError(f"'{choices.engine}' is not an engine", hint=f"use {', '.join(ENGINES)}")
    _within("--seed", choices.seed, 0, MAX_SEED)
    _within("-n", choices.count, 1, MAX_COUNT)
    _within("--strength", choices.strength, 0.01, 1.0)
    _within("--jpeg-quality", choices.jpeg_quality, 1, 100)


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UsageError(f"{name} must be between {low:g} and {high:g}, not {value:g}")


def _geometry(size: tuple[int, int], model: Model) -> tuple[int, int, list[str]]:
    grid = model.multiple
    width, height = (max(grid, int(n / grid + 0.5) * grid) for n in size)
    if min(size) < 64:
        raise UsageError(f"{size[0]}x{size[1]} is too small", hint="64x64 is the least")
    if width * height > model.max_pixels:
        raise UsageError(
            f"{width}x{height} is more than {model.title} can paint "
            f"({model.max_pixels / 1e6:.1f} megapixels)",
            hint="choose a smaller --size",
        )
    notes = []
    if (width, height) != size:
        notes.append(
            f"{size[0]}x{size[1]} was rounded to {width}x{height} (multiples of {model.multiple})"
        )
    return width, height, notes


def _steps(choices: Choices, model: Model, preset_steps: int) -> int:
    if choices.steps is not None:
        _within("--steps", choices.steps, 1, MAX_STEPS)
        return choices.steps
    return model.steps_for(choices.preset, preset_steps)


def _guidance(choices: Choices, tables: Tables, model: Model) -> float:
    if choices.guidance is not None:
        _within("--guidance", choices.guidance, 1.0, 7.0)
        return choices.guidance
    if choices.guidance_name is not None:
        return tables.guidance(choices.guidance_name)
    return choices.default_guidance if model.guidance is None else model.guidance


def parse_lora(text: str) -> Lora:
    """NAME_OR_PATH[:WEIGHT]. Raises UsageError."""
    source, separator, weight = text.rpartition(":")
    if separator and re.fullmatch(r"-?\d*\.?\d+", weight):
        value = float(weight)
        _within("the weight of --lora", value, -4.0, 4.0)
        return Lora(source, value)
    if not text.strip():
        raise UsageError("--lora needs a name or a path")
    return Lora(text)


def file_stem(prompt: str, seed: int) -> str:
    """A short, safe file name for a picture: the first words of the prompt and the seed."""
    words = re.findall(r"[^\W_]+", prompt.lower())
    slug = "-".join(words[:6])[:48].rstrip("-")
    return f"{slug or 'picture'}-{seed}"


def seeds(request: Request) -> Sequence[int]:
    return [(request.seed + index) % (MAX_SEED + 1) for index in range(request.count)]


# What came out.


def file_name(order: Json, told: Json, artifact: Json) -> tuple[str, str]:
    seed = int(artifact.get("seed") or order.get("seed") or 0)
    return file_stem(str(told.get("prompt", "")), seed), str(order.get("format", "png"))


def summary(order: Json, metrics: Json, files: int) -> list[str]:  # noqa: ARG001  the protocol's
    return [
        f"{files} picture{'s' if files != 1 else ''} {order.get('width')}×{order.get('height')}",
        f"{order.get('steps')} steps on {(order.get('model') or {}).get('title')}",
        f"seed {order.get('seed')}",
    ]


def canary_input(section: Mapping[str, Any]) -> Json | None:  # noqa: ARG001  the protocol's
    """None: its tiny job needs the tables of models and presets, and is made where they are."""
    return None
