"""Stable Diffusion on Automatic1111: wishes in, a request of its API out. Pure.

The keys are the WebUI's own (workloads.md §3.3), so that the seed's callers and gpuctl speak alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gpuctl.errors import UsageError
from gpuctl.models import Json, Need
from gpuctl.workloads import base, sd_prompt
from gpuctl.workloads.sd_prompt import Lora

NAME = "sd"
TITLE = "Stable Diffusion on Automatic1111"
COMMAND = NAME
EXAMPLE = 'sd txt2img "a castle"'
PLACE: base.Place = "endpoint"

FORMATS = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}
MULTIPLE = 8
MIN_SIDE, MAX_SIDE = 64, 4096
MAX_PIXELS = 16_777_216
MAX_SEED = 2**32 - 1
MAX_COUNT, MAX_STEPS = 64, 500
MAX_PROMPT_CHARACTERS = 20_000
# The seed's recommendation for the LCM LoRA: 4–8 steps, guidance 1–2, its own sampler.
LCM_STEPS, LCM_CFG, LCM_SAMPLER = 8, 2.0, "LCM"
# The WebUI's own page says 20; its API would take 50.
DEFAULT_STEPS, DEFAULT_CFG = 20, 7.0


@dataclass(frozen=True, slots=True)
class Hires:
    """A second pass at a larger size: a factor, or a size in pixels."""

    scale: float | None = 2.0
    size: tuple[int, int] | None = None
    upscaler: str | None = None
    steps: int | None = None
    strength: float | None = None


@dataclass(frozen=True, slots=True)
class Choices:
    """What the operator asked for; None where nothing was said. `initial` and `mask` are names in
    the worker's workspace. `settings`: keys of the API, `options`: of the WebUI's options."""

    prompt: str
    seed: int
    negative: str = ""
    size: tuple[int, int] | None = None
    steps: int | None = None
    cfg: float | None = None
    sampler: str | None = None
    scheduler: str | None = None
    count: int = 1
    loras: tuple[Lora, ...] = ()
    lcm: str | None = None
    hires: Hires | None = None
    model: str | None = None
    vae: str | None = None
    clip_skip: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    initial: str | None = None
    mask: str | None = None
    strength: float | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """A complete request and what should be said about it."""

    input: Json
    notes: tuple[str, ...] = ()


def resolve(choices: Choices) -> Request:
    """Turns wishes into the job's `input`, as remote_scripts/sd/handler.py reads it.

    Raises UsageError for anything that cannot be meant, before anything is started.
    """
    _check(choices)
    notes: list[str] = []
    loras = _with_lcm(choices, notes)
    width, height = _size(choices.size or (512, 512), notes)
    is_lcm = choices.lcm is not None
    order: Json = {
        "caller": "gpuctl",
        "api": "txt2img" if choices.initial is None else "img2img",
        "prompt": sd_prompt.with_loras(choices.prompt, loras),
        "negative_prompt": choices.negative,
        "width": width,
        "height": height,
        "steps": _or(choices.steps, LCM_STEPS if is_lcm else DEFAULT_STEPS),
        "cfg_scale": _or(choices.cfg, LCM_CFG if is_lcm else DEFAULT_CFG),
        "sampler_name": _or(choices.sampler, LCM_SAMPLER if is_lcm else None),
        "scheduler": choices.scheduler,
        "seed": choices.seed,
        "count": choices.count,
        **_hires(choices, notes),
        **_initial(choices),
        **choices.settings,
    }
    if options := _options(choices):
        order["override_settings"] = {**options, **dict(order.get("override_settings") or {})}
    return Request({key: value for key, value in order.items() if value is not None}, tuple(notes))


def need(section: Mapping[str, Any]) -> Need:
    """No image by default: it is our own, named after the account that it was pushed to."""
    return base.need({**section, "image": section["image"] or ""})


def file_name(order: Json, told: Json, artifact: Json) -> tuple[str, str]:
    """Of a picture: first words and seed; of an enlarged one: that of the original."""
    suffix = str(artifact.get("name") or "x.png").rpartition(".")[2]
    if order.get("api") == "upscale":
        return f"{told.get('stem') or 'picture'}-large", suffix
    words = sd_prompt.slug(str(told.get("prompt") or order.get("prompt") or ""))
    cell = f"-{sd_prompt.slug(str(told['cell']), 14)}" if told.get("cell") else ""
    return f"{words}-{artifact.get('seed', order.get('seed', 0))}{cell}", suffix


def summary(order: Json, metrics: Json, files: int) -> list[str]:
    """Of the line under a finished job, from what the WebUI says it did."""
    if order.get("api") not in ("txt2img", "img2img"):
        size = f" {metrics['width']}×{metrics['height']}" if metrics.get("width") else ""
        return [f"{files} picture{'s' if files != 1 else ''}{size}"] if files else ["done"]
    sampler = " ".join(str(metrics[key]) for key in ("sampler", "scheduler") if metrics.get(key))
    plural = "s" if files != 1 else ""
    return [
        f"{files} picture{plural} {metrics.get('width')}×{metrics.get('height')}",
        f"{metrics.get('steps')} steps {sampler} on {metrics.get('model')}",
        f"seed {order.get('seed')}",
    ]


def canary_input(section: Mapping[str, Any]) -> Json | None:  # noqa: ARG001  the protocol's
    """Two steps at 64×64: the model is loaded and a picture comes."""
    small = {"width": 64, "height": 64, "steps": 2, "seed": 1}
    return {"caller": "gpuctl", "api": "txt2img", "prompt": "a red apple", "count": 1, **small}


def _check(choices: Choices) -> None:
    if not choices.prompt.strip() and not choices.loras and choices.initial is None:
        raise UsageError("the prompt is empty", hint='gpuctl sd txt2img "a portrait"')
    for text in (choices.prompt, choices.negative):
        if len(text) > MAX_PROMPT_CHARACTERS:
            raise UsageError(
                f"a prompt has {len(text)} characters; the limit is {MAX_PROMPT_CHARACTERS}"
            )
    limits: tuple[tuple[str, float | None, float, float], ...] = (
        ("--seed", choices.seed, 0, MAX_SEED),
        ("-n", choices.count, 1, MAX_COUNT),
        ("--steps", choices.steps, 1, MAX_STEPS),
        ("--cfg", choices.cfg, 0, 30),
        ("--clip-skip", choices.clip_skip, 1, 12),
        ("--strength", choices.strength, 0, 1),
    )
    for name, value, low, high in limits:
        if value is not None:
            _within(name, value, low, high)
    if choices.mask is not None and choices.initial is None:
        raise UsageError("a mask needs a picture", hint="gpuctl sd img2img PICTURE … --mask MASK")


def _within(name: str, value: float, low: float, high: float) -> None:
    # NaN is in no range, and has to be named here: JSON has no word for it.
    if not low <= value <= high:
        raise UsageError(f"{name} must be between {low:g} and {high:g}, not {value:g}")


def _with_lcm(choices: Choices, notes: list[str]) -> tuple[Lora, ...]:
    if choices.lcm is None:
        return choices.loras
    for name, value, low, high in (("--steps", choices.steps, 4, 8), ("--cfg", choices.cfg, 1, 2)):
        if value is not None and not low <= value <= high:
            notes.append(f"{name} {value:g}: the LCM LoRA is at its best with {low} to {high}")
    named = {lora.name for lora in (*sd_prompt.loras(choices.prompt), *choices.loras)}
    return choices.loras if choices.lcm in named else (*choices.loras, Lora(choices.lcm))


def _size(size: tuple[int, int], notes: list[str], name: str = "") -> tuple[int, int]:
    """Rounded to multiples of 8: the WebUI would cut the remainder off and say nothing."""
    if not all(1 <= side <= 2 * MAX_SIDE for side in size):
        raise UsageError(f"{size[0]}x{size[1]} is not a size that can be painted")
    rounded = (max(MULTIPLE, int(side / MULTIPLE + 0.5) * MULTIPLE) for side in size)
    width, height = rounded
    if min(width, height) < MIN_SIDE:
        raise UsageError(
            f"{size[0]}x{size[1]} is too small", hint=f"{MIN_SIDE}x{MIN_SIDE} is the least"
        )
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise UsageError(
            f"{size[0]}x{size[1]} is too large",
            hint=f"{MAX_SIDE}x{MAX_SIDE} is the most; --hires 2",
        )
    if (width, height) != tuple(size):
        notes.append(
            f"{name}{size[0]}x{size[1]} was rounded to {width}x{height} (multiples of {MULTIPLE})"
        )
    return width, height


def _hires(choices: Choices, notes: list[str]) -> Json:
    hires = choices.hires
    if hires is None:
        return {}
    if choices.initial is not None:
        raise UsageError("--hires is for txt2img", hint="gpuctl sd upscale PICTURE")
    found: Json = {
        "enable_hr": True,
        "hr_upscaler": hires.upscaler,
        "hr_second_pass_steps": hires.steps,
        "denoising_strength": _or(hires.strength, 0.5),
    }
    if hires.size is not None:
        width, height = _size(hires.size, notes, "--hires ")
        return {**found, "hr_resize_x": width, "hr_resize_y": height}
    _within("--hires", hires.scale or 2.0, 1, 8)
    return {**found, "hr_scale": hires.scale}


def _initial(choices: Choices) -> Json:
    if choices.initial is None:
        return {}
    return {
        "init_files": [choices.initial],
        "mask_file": choices.mask,
        # The forks' own defaults differ (.75, .5): it is always said.
        "denoising_strength": _or(choices.strength, 0.75),
    }


def _options(choices: Choices) -> Json:
    named = {
        "sd_model_checkpoint": choices.model,
        "sd_vae": choices.vae,
        "CLIP_stop_at_last_layers": choices.clip_skip,
    }
    return {**{key: value for key, value in named.items() if value is not None}, **choices.options}


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value
