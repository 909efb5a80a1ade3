"""What a flux job may ask for, checked field by field before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from worker.fields import Fields, bad_input

ENGINES = ("auto", "bf16", "fp8", "nf4", "offload", "cpu")
FORMATS = ("png", "jpg", "webp")
MULTIPLE = 16
MIN_SIDE, MAX_SIDE = 64, 4096
MAX_PROMPT_CHARACTERS = 50_000
MAX_STEPS, MAX_COUNT, MAX_LORAS = 500, 256, 16
MAX_SEED = 2**63 - 1


@dataclass(frozen=True)
class Model:
    """One row of the client's model table. `vram_gb`: resident in bf16, decimal GB."""

    repo: str
    pipeline: str
    name: str
    title: str
    revision: str | None = None
    img2img: str | None = None
    text_tokens: int = 512
    clip_tokens: int | None = None
    cache: str | None = None
    compile: bool = False
    gated: bool = False
    licence: str = ""
    licence_url: str = ""
    vram_gb: float = 34.0

    @property
    def cache_threshold(self) -> float | None:
        """The number behind `first-block:`; None when nothing is to be cached."""
        return float(self.cache.partition(":")[2]) if self.cache else None


@dataclass(frozen=True)
class Lora:
    """A LoRA by repository, or by a file inside the workspace."""

    source: str
    weight: float = 1.0
    weight_name: str | None = None


@dataclass(frozen=True)
class Request:
    """A job that passed every check. Sizes in pixels; image i is made with `seed + i`."""

    prompt: str
    model: Model
    clip_prompt: str | None = None
    negative_prompt: str | None = None
    width: int = 1024
    height: int = 1024
    steps: int = 20
    guidance: float = 3.5
    seed: int = 0
    count: int = 1
    format: str = "png"
    jpeg_quality: int = 95
    engine: str = "auto"
    loras: tuple[Lora, ...] = ()
    init_image: str | None = None
    strength: float = 0.6

    @property
    def planned_steps(self) -> int:
        """Steps that will run: with an initial image the first ones are left out.

        The arithmetic is that of diffusers' img2img pipelines (`get_timesteps`).
        """
        if self.init_image is None:
            return self.steps
        return self.steps - int(self.steps - min(self.steps * self.strength, self.steps))


def parse(document: object) -> Request:
    """The request in a job's `input`. Raises Failure (bad_input) naming the field at fault."""
    fields = Fields(document, "the input")
    prompt = fields.text("prompt", limit=MAX_PROMPT_CHARACTERS)
    if not prompt.strip():
        raise bad_input("the prompt is empty", "say what the picture should show")
    request = Request(
        prompt=prompt,
        model=_model(fields.table("model")),
        clip_prompt=fields.optional_text("clip_prompt", limit=MAX_PROMPT_CHARACTERS),
        negative_prompt=fields.optional_text("negative_prompt", limit=MAX_PROMPT_CHARACTERS),
        width=_side(fields, "width"),
        height=_side(fields, "height"),
        steps=fields.integer("steps", 20, 1, MAX_STEPS),
        guidance=fields.number("guidance", 3.5, 0.0, 100.0),
        seed=fields.integer("seed", 0, 0, MAX_SEED),
        count=fields.integer("count", 1, 1, MAX_COUNT),
        format=fields.choice("format", FORMATS, "png"),
        jpeg_quality=fields.integer("jpeg_quality", 95, 1, 100),
        engine=fields.choice("engine", ENGINES, "auto"),
        loras=tuple(_lora(row) for row in fields.tables("loras", MAX_LORAS)),
        init_image=fields.optional_text("init_image", limit=4096),
        strength=fields.number("strength", 0.6, 0.0, 1.0),
    )
    _check_together(request)
    return request


def unknown_keys(document: Mapping[str, Any]) -> list[str]:
    """Keys that `parse` did not look at: a misspelt one should not pass unnoticed."""
    return sorted(set(document) - set(Request.__dataclass_fields__))


def _model(fields: Fields) -> Model:
    repo = fields.text("repo", limit=500)
    cache = fields.optional_text("cache", limit=50)
    _check_cache(cache)
    return Model(
        repo=repo,
        pipeline=fields.text("pipeline", limit=100),
        name=fields.optional_text("name", limit=200) or repo,
        title=fields.optional_text("title", limit=200) or repo,
        revision=fields.optional_text("revision", limit=200),
        img2img=fields.optional_text("img2img", limit=100),
        text_tokens=fields.integer("text_tokens", 512, 1, 4096),
        clip_tokens=fields.optional_integer("clip_tokens", 1, 4096),
        cache=cache,
        compile=fields.flag("compile"),
        gated=fields.flag("gated"),
        licence=fields.optional_text("licence", limit=200) or "",
        licence_url=fields.optional_text("licence_url", limit=500) or "",
        vram_gb=fields.number("vram_gb", 34.0, 0.0, 2000.0),
    )


def _lora(fields: Fields) -> Lora:
    return Lora(
        source=fields.text("source", limit=1000),
        weight=fields.number("weight", 1.0, -10.0, 10.0),
        weight_name=fields.optional_text("weight_name", limit=500),
    )


def _side(fields: Fields, key: str) -> int:
    pixels = fields.integer(key, 1024, MIN_SIDE, MAX_SIDE)
    if pixels % MULTIPLE:
        # diffusers would round it down without a word that reaches anyone.
        near = max(MIN_SIDE, round(pixels / MULTIPLE) * MULTIPLE)
        raise bad_input(
            f"{key} {pixels} is not a multiple of {MULTIPLE}", f"use {near}, the nearest one"
        )
    return pixels


def _check_cache(cache: str | None) -> None:
    kind, _, threshold = (cache or "first-block:0").partition(":")
    try:
        is_good = kind == "first-block" and 0.0 <= float(threshold) <= 1.0
    except ValueError:
        is_good = False
    if not is_good:
        raise bad_input(
            f"model.cache is {cache!r}",
            "use null or first-block:THRESHOLD, e.g. first-block:0.08",
        )


def _check_together(request: Request) -> None:
    if request.seed + request.count - 1 > MAX_SEED:
        raise bad_input("the last image's seed would exceed 2^63-1", "use a smaller seed")
    if request.init_image is None:
        return
    if request.model.img2img is None:
        raise bad_input(
            f"{request.model.title} cannot start from an image",
            "leave the initial image out, or take a model that has an img2img pipeline",
        )
    if request.strength == 0:
        raise bad_input("strength 0 leaves the initial image as it is", "use 0.1 to 1.0")
