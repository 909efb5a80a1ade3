"""`gpuctl video`: from a still to a film."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from gpuctl.commands.options import (
    DetachOption,
    NoOpenOption,
    OnOption,
    OutOption,
    PromptFileOption,
)
from gpuctl.commands.video_making import Delivery, make
from gpuctl.context import Context
from gpuctl.errors import UsageError
from gpuctl.services import video_orders
from gpuctl.services.prompts import read_prompt
from gpuctl.services.video_orders import Asked
from gpuctl.workloads.video import MAX_SEED

LISTS = ("workflows", "models", "validate")


def video(
    ctx: typer.Context,
    image: Annotated[
        str,
        typer.Argument(
            metavar="IMAGE|workflows|models|validate", help="The still, or what to look at."
        ),
    ],
    file: Annotated[
        str | None, typer.Argument(metavar="[FILE]", help="The workflow to validate.")
    ] = None,
    prompt: Annotated[
        str | None, typer.Option("--prompt", "-p", metavar="TEXT", help="What happens; '-': stdin.")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--end", metavar="IMAGE", help="The last picture of the film.")
    ] = None,
    negative: Annotated[
        str | None, typer.Option("--negative", metavar="TEXT", help="What must not happen.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option("--seconds", metavar="S", help="Length; 5 unless said.")
    ] = None,
    frames: Annotated[
        int | None, typer.Option("--frames", metavar="N", help="Length in frames, 16 a second.")
    ] = None,
    size: Annotated[
        str | None, typer.Option("--size", metavar="WxH", help="Pixels; multiples of 16.")
    ] = None,
    p480: Annotated[bool, typer.Option("--480p", help="0.4 megapixels, as the still.")] = False,
    p720: Annotated[bool, typer.Option("--720p", help="0.9 megapixels, as the still.")] = False,
    steps: Annotated[
        int | None, typer.Option("--steps", metavar="N", help="Denoising steps, 1 to 100.")
    ] = None,
    cfg: Annotated[
        float | None, typer.Option("--cfg", metavar="X", help="1.0 with the fast preset.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", help="The same seed, the same film.")
    ] = None,
    lora: Annotated[
        list[str] | None,
        typer.Option("--lora", metavar="HIGH,LOW[:WH,WL]", help="Files there, or https; up to 4."),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option("--preset", metavar="NAME", help="fast (4 steps), hybrid or quality."),
    ] = None,
    workflow: Annotated[
        str | None,
        typer.Option("--workflow", metavar="FILE|NAME", help="A graph of yours (API format)."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NODE.INPUT=VALUE", help="Change it; repeatable."),
    ] = None,
    chain: Annotated[
        int, typer.Option("--chain", metavar="N", help="N pieces, each from the last frame.")
    ] = 1,
    enhance: Annotated[
        bool | None,
        typer.Option("--enhance/--no-enhance", help="Let Claude rewrite the prompt first."),
    ] = None,
    out: OutOption = None,
    open_: NoOpenOption = None,
    on: OnOption = None,
    detach: DetachOption = False,
    prompt_file: PromptFileOption = None,
) -> None:
    """Turn a still into a film, perhaps up to a last picture.

    \b
    gpuctl video still.png --end last.png --prompt "the tide comes in" --seconds 5
    gpuctl video still.png --prompt "she turns" --preset quality --720p
    gpuctl video still.png --workflow mine.json --set 12.cfg=2.5
    gpuctl video workflows                what the machine can run
    gpuctl video models                   what lies on its volume, and what is missing
    gpuctl video validate mine.json       is it sound, and what can be set (./models is a file)
    """
    context: Context = ctx.obj
    if image in LISTS:
        from gpuctl.commands import video_lists  # noqa: PLC0415  only to look

        video_lists.show(context, image, file, on)
        return
    if file is not None:
        raise UsageError(f"what is '{file}'?", hint="the last picture is --end, the text --prompt")
    asked = Asked(
        image=image,
        prompt=_prompt(prompt, prompt_file, workflow),
        seed=int.from_bytes(os.urandom(4), "big") % MAX_SEED if seed is None else seed,
        end=end,
        negative_prompt=negative,
        seconds=seconds,
        frames=frames,
        size=video_orders.one_of(size=size, p480=p480, p720=p720),
        steps=steps,
        cfg=cfg,
        loras=tuple(lora or ()),
        preset=preset,
        workflow=workflow,
        sets=tuple(set_ or ()),
        chain=chain,
    )
    is_enhanced = context.settings.flag("video.enhance") if enhance is None else enhance
    make(context, asked, Delivery(out, on, detach, open_, is_enhanced, enhance is True))


def _prompt(prompt: str | None, file: str | None, workflow: str | None) -> str:
    """A workflow of one's own may bring its text itself."""
    if prompt is None and file is None and workflow is not None:
        return ""
    return read_prompt(prompt, Path(file) if file else None, sys.stdin)
