"""`gpuctl flux`: from a prompt to a picture."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from gpuctl.commands.options import (
    DetachOption,
    NoOpenOption,
    OnOption,
    OutOption,
    PromptArgument,
    PromptFileOption,
)
from gpuctl.commands.pictures import paint_and_show
from gpuctl.context import Context
from gpuctl.errors import UsageError
from gpuctl.services.pictures import Wish
from gpuctl.services.prompts import read_prompt
from gpuctl.workloads.flux import MAX_SEED, Choices, parse_lora


def flux(
    ctx: typer.Context,
    prompt: PromptArgument = None,
    fast: Annotated[bool, typer.Option("--fast", help="4 steps, on schnell.")] = False,
    balanced: Annotated[bool, typer.Option("--balanced", help="20 steps.")] = False,
    quality: Annotated[bool, typer.Option("--quality", help="50 steps.")] = False,
    preset: Annotated[
        str | None, typer.Option("--preset", metavar="NAME", help="A row of the table `presets`.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", metavar="N", help="Denoising steps, 1 to 200.")
    ] = None,
    portrait: Annotated[bool, typer.Option("--portrait", help="768x1024")] = False,
    landscape: Annotated[bool, typer.Option("--landscape", help="1024x768")] = False,
    square: Annotated[bool, typer.Option("--square", help="1024x1024")] = False,
    hd: Annotated[bool, typer.Option("--hd", help="1280x720")] = False,
    four_k: Annotated[bool, typer.Option("--4k", help="3840x2160")] = False,
    size: Annotated[
        str | None, typer.Option("--size", metavar="WxH", help="Pixels, or a name of `sizes`.")
    ] = None,
    guidance: Annotated[
        float | None, typer.Option("--guidance", metavar="X", help="1.0 (free) to 7.0 (strict).")
    ] = None,
    creative: Annotated[bool, typer.Option("--creative", help="Guidance 1.5.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Guidance 5.0.")] = False,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", help="The same seed, the same picture.")
    ] = None,
    count: Annotated[
        int, typer.Option("--count", "-n", metavar="COUNT", help="Pictures, seed counting up.")
    ] = 1,
    model: Annotated[
        str | None, typer.Option("--model", metavar="NAME", help="A row of the table `models`.")
    ] = None,
    lora: Annotated[
        list[str] | None,
        typer.Option("--lora", metavar="NAME_OR_PATH[:WEIGHT]", help="Adapter; may be repeated."),
    ] = None,
    init: Annotated[
        str | None, typer.Option("--init", metavar="IMAGE", help="Start from this picture.")
    ] = None,
    strength: Annotated[
        float, typer.Option("--strength", metavar="X", help="How far from --init: 0 to 1.")
    ] = 0.6,
    enhance: Annotated[
        bool | None,
        typer.Option("--enhance/--no-enhance", help="Let Claude rewrite the prompt first."),
    ] = None,
    enhance_ai: Annotated[bool, typer.Option("--enhance-ai", hidden=True)] = False,
    format: Annotated[
        str | None, typer.Option("--format", metavar="png|jpg|webp", help="As --out says, or png.")
    ] = None,
    jpeg_quality: Annotated[
        int | None, typer.Option("--jpeg-quality", metavar="N", help="1 to 100.")
    ] = None,
    engine: Annotated[
        str | None,
        typer.Option("--engine", metavar="NAME", help="auto, bf16, fp8, nf4, offload or cpu."),
    ] = None,
    out: OutOption = None,
    open_: NoOpenOption = None,
    on: OnOption = None,
    detach: DetachOption = False,
    prompt_file: PromptFileOption = None,
) -> None:
    """Paint pictures from a prompt.

    \b
    gpuctl flux "a lighthouse at dusk" --quality --portrait
    gpuctl flux "a red fox" -n 4 --seed 7 --out foxes/
    gpuctl flux - < prompt.txt
    """
    context: Context = ctx.obj
    settings = context.settings
    presets = {"fast": fast, "balanced": balanced, "quality": quality}
    sizes = {"portrait": portrait, "landscape": landscape, "square": square, "hd": hd, "4k": four_k}
    guidances = {"creative": creative, "strict": strict}
    choices = Choices(
        prompt=read_prompt(prompt, Path(prompt_file) if prompt_file else None, sys.stdin),
        preset=_one_of("preset", presets, preset) or settings.text("flux.default_preset"),
        size=_one_of("size", sizes, size) or settings.text("flux.default_size"),
        seed=_random_seed() if seed is None else seed,
        model=model,
        default_model=settings.text("flux.default_model"),
        steps=steps,
        guidance=guidance,
        guidance_name=_one_of("guidance", guidances, None, also=guidance is not None),
        default_guidance=settings.number("flux.guidance"),
        count=count,
        loras=tuple(map(parse_lora, lora or ())),
        init_image=init,
        strength=strength,
        format=format or _format_of(out) or settings.text("flux.format"),
        jpeg_quality=_or(jpeg_quality, settings.integer("flux.jpeg_quality")),
        engine=engine or settings.text("flux.engine"),
    )
    wanted = enhance_ai or _or(enhance, settings.flag("flux.enhance"))
    wish = Wish(choices, enhance=wanted, out=out, on=on, detach=detach)
    paint_and_show(context, wish, open_=open_)


T = TypeVar("T")


def _or(value: T | None, default: T) -> T:
    return default if value is None else value


def _random_seed() -> int:
    """Of four bytes, which is what MAX_SEED holds; the modules secrets and random take 8 ms."""
    return int.from_bytes(os.urandom(4), "big") & MAX_SEED


def _one_of(
    kind: str, flags: dict[str, bool], named: str | None, *, also: bool = False
) -> str | None:
    """The one choice that was made, None for none. Raises UsageError for several."""
    given = [name for name, is_set in flags.items() if is_set] + ([named] if named else [])
    if len(given) + also > 1:
        many = [*given, f"--{kind}"] if also else given
        raise UsageError(f"more than one {kind}: {', '.join(many)}", hint="choose one")
    return given[0] if given else None


def _format_of(out: str | None) -> str | None:
    suffix = (out or "").rpartition(".")[2].lower()
    return {"jpeg": "jpg"}.get(suffix, suffix) if suffix in ("png", "jpg", "jpeg", "webp") else None
