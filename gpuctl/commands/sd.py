"""`gpuctl sd`: Stable Diffusion on Automatic1111, from a prompt to pictures."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gpuctl.commands import sd_lists
from gpuctl.commands.options import (
    DetachOption,
    NoOpenOption,
    OnOption,
    OutOption,
    PromptArgument,
    PromptFileOption,
)
from gpuctl.commands.sd_options import (
    CfgOption,
    ClipSkipOption,
    CountOption,
    GridOption,
    LcmOption,
    LoraOption,
    ModelOption,
    NegativeOption,
    SamplerOption,
    SchedulerOption,
    SeedOption,
    SetOption,
    SizeOption,
    StepsOption,
    VaeOption,
)
from gpuctl.commands.sd_painting import Delivery, paint
from gpuctl.context import Context
from gpuctl.errors import UsageError
from gpuctl.services import sd_orders
from gpuctl.services.prompts import read_prompt
from gpuctl.workloads.flux_models import Tables
from gpuctl.workloads.sd import MAX_SEED, Choices, Hires
from gpuctl.workloads.sd_prompt import parse_lora

if TYPE_CHECKING:
    from gpuctl.services.sd_inputs import Picture

app = typer.Typer(help="Paint with Stable Diffusion on Automatic1111: txt2img, img2img, lists.")


@app.command()
def txt2img(
    ctx: typer.Context,
    prompt: PromptArgument = None,
    negative: NegativeOption = "",
    size: SizeOption = None,
    steps: StepsOption = None,
    cfg: CfgOption = None,
    sampler: SamplerOption = None,
    scheduler: SchedulerOption = None,
    seed: SeedOption = None,
    count: CountOption = 1,
    lora: LoraOption = None,
    lcm: LcmOption = False,
    hires: Annotated[
        str | None,
        typer.Option("--hires", metavar="X|WxH", help="A second pass, so much larger."),
    ] = None,
    hires_upscaler: Annotated[
        str | None, typer.Option("--hires-upscaler", metavar="NAME", help="Latent, ESRGAN_4x, …")
    ] = None,
    hires_steps: Annotated[
        int | None, typer.Option("--hires-steps", metavar="N", help="As many as the first pass.")
    ] = None,
    hires_strength: Annotated[
        float | None, typer.Option("--hires-strength", metavar="X", help="0 to 1; 0.5.")
    ] = None,
    model: ModelOption = None,
    vae: VaeOption = None,
    clip_skip: ClipSkipOption = None,
    set_: SetOption = None,
    grid: GridOption = None,
    out: OutOption = None,
    open_: NoOpenOption = None,
    on: OnOption = None,
    detach: DetachOption = False,
    prompt_file: PromptFileOption = None,
) -> None:
    """Paint pictures from a prompt.

    \b
    gpuctl sd txt2img "a portrait, <lora:lcm:0.8>" --lcm
    gpuctl sd txt2img "a castle" -n 4 --seed 7 --model dreamshaper
    gpuctl sd txt2img "a castle" --seed 7 --grid cfg=2,4,7 --grid steps=8,20
    """
    context: Context = ctx.obj
    second = None
    if hires is not None:
        second = replace(_hires(hires), upscaler=hires_upscaler, steps=hires_steps)
        second = replace(second, strength=hires_strength)
    elif hires_upscaler or hires_steps or hires_strength is not None:
        raise UsageError("--hires says how much larger", hint="--hires 2")
    choices = Choices(
        prompt=read_prompt(prompt, Path(prompt_file) if prompt_file else None, sys.stdin),
        seed=_random_seed() if seed is None else seed,
        negative=negative,
        size=_size(context, size),
        steps=steps,
        cfg=cfg,
        sampler=sampler,
        scheduler=scheduler,
        count=count,
        loras=tuple(map(parse_lora, lora or ())),
        lcm=context.settings.text("sd.lcm_lora") if lcm else None,
        hires=second,
        model=model,
        vae=vae,
        clip_skip=clip_skip,
    )
    choices = sd_orders.settings_of(set_ or (), choices)
    paint(context, choices, {}, grid or [], Delivery(out, on, detach, open_))


@app.command()
def img2img(
    ctx: typer.Context,
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="The picture to start from.")],
    prompt: PromptArgument = None,
    strength: Annotated[
        float | None,
        typer.Option("--strength", metavar="X", help="How far from the picture: 0 to 1; 0.75."),
    ] = None,
    mask: Annotated[
        str | None, typer.Option("--mask", metavar="IMAGE", help="Change only what is white here.")
    ] = None,
    negative: NegativeOption = "",
    size: SizeOption = None,
    steps: StepsOption = None,
    cfg: CfgOption = None,
    sampler: SamplerOption = None,
    scheduler: SchedulerOption = None,
    seed: SeedOption = None,
    count: CountOption = 1,
    lora: LoraOption = None,
    lcm: LcmOption = False,
    model: ModelOption = None,
    vae: VaeOption = None,
    clip_skip: ClipSkipOption = None,
    set_: SetOption = None,
    grid: GridOption = None,
    out: OutOption = None,
    open_: NoOpenOption = None,
    on: OnOption = None,
    detach: DetachOption = False,
    prompt_file: PromptFileOption = None,
) -> None:
    """Paint pictures from a picture and a prompt.

    \b
    gpuctl sd img2img out.png "in winter"
    gpuctl sd img2img out.png "a red hat" --mask head.png --strength 0.6
    """
    context: Context = ctx.obj
    from gpuctl.services import sd_inputs  # noqa: PLC0415  Pillow, only with a picture

    inputs: dict[str, Path] = {}
    shape = sd_inputs.measured(image, "the picture")
    # Without a size the WebUI would press any picture into a square.
    pixels = sd_inputs.fitting(shape) if size is None else _size(context, size)
    white = sd_inputs.measured(mask, "the mask") if mask else None
    choices = Choices(
        prompt=read_prompt(prompt, Path(prompt_file) if prompt_file else None, sys.stdin),
        seed=_random_seed() if seed is None else seed,
        negative=negative,
        size=pixels,
        steps=steps,
        cfg=cfg,
        sampler=sampler,
        scheduler=scheduler,
        count=count,
        loras=tuple(map(parse_lora, lora or ())),
        lcm=context.settings.text("sd.lcm_lora") if lcm else None,
        model=model,
        vae=vae,
        clip_skip=clip_skip,
        initial=_input(context, shape, pixels, inputs),
        mask=None if white is None else _input(context, white, pixels, inputs),
        strength=strength,
    )
    choices = sd_orders.settings_of(set_ or (), choices)
    paint(context, choices, inputs, grid or [], Delivery(out, on, detach, open_))


def _size(context: Context, text: str | None) -> tuple[int, int]:
    tables = Tables({}, {}, context.settings.table("sizes"), {})
    return tables.size(context.settings.text("sd.default_size") if text is None else text)


def _input(
    context: Context, picture: Picture, size: tuple[int, int], inputs: dict[str, Path]
) -> str:
    """The picture's name on the worker. A large one is made smaller before it travels."""
    from gpuctl.services import sd_inputs  # noqa: PLC0415  loaded already

    path = sd_inputs.to_send(picture, size, context.cache_folder)
    if path != picture.path:
        context.console.note(
            f"{picture.path.name} ({picture.width}x{picture.height}) is made smaller to travel"
        )
    return sd_orders.named(path, inputs)


def _hires(text: str) -> Hires:
    """A factor, or a size in pixels. Raises UsageError."""
    if "x" in text.lower():
        return Hires(scale=None, size=Tables({}, {}, {}, {}).size(text))
    try:
        return Hires(scale=float(text))
    except ValueError:
        raise UsageError(
            f"--hires {text} is neither a factor nor a size", hint="--hires 2, or --hires 1024x1536"
        ) from None


def _random_seed() -> int:
    """Of four bytes, which is what MAX_SEED holds."""
    return int.from_bytes(os.urandom(4), "big") & MAX_SEED


# After the two above: the help lists commands as they were added.
app.command("upscale")(sd_lists.upscale)
app.command("info")(sd_lists.info)
app.command("loras")(sd_lists.loras)
app.command("models")(sd_lists.models)
app.command("samplers")(sd_lists.samplers)
app.add_typer(sd_lists.options_app, name="options")
