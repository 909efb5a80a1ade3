"""Builds the image of a workload."""

from __future__ import annotations

from typing import Annotated

import typer

from gpuctl.commands import image_text as text
from gpuctl.commands.image_options import (
    PlatformOption,
    SlimOption,
    TagOption,
    WorkloadArgument,
    pairs,
    variant,
    workshop,
)
from gpuctl.context import Context
from gpuctl.services import image_building, image_refs, image_sources


def build(
    ctx: typer.Context,
    workload: WorkloadArgument,
    slim: SlimOption = None,
    tag: TagOption = None,
    platform: PlatformOption = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Every step anew, nothing from earlier builds.")
    ] = False,
    arg: Annotated[
        list[str] | None,
        typer.Option("--arg", metavar="K=V", help="Value of an ARG; repeatable. Never a secret."),
    ] = None,
) -> None:
    """Build the container image of a workload with Docker, or with buildah where there is none.

    \b
    gpuctl build whisper --slim
    gpuctl build whisper --slim --arg BASE=nvidia/cuda:12.8.1-base-ubuntu24.04 --dry-run
    """
    context: Context = ctx.obj
    source = image_sources.source(workload, variant(slim))
    reference = image_refs.tagged(context.settings, workload, source.variant, tag)
    wishes = image_building.Wishes(platform, not no_cache, pairs("--arg", arg))
    order = image_building.order(source, reference, wishes)
    shop = workshop(context)
    command = shop.engine.build_command(order)
    if context.is_dry_run:
        context.console.result(
            text.build_plan(source, order, shop.engine, command), f"would run: {command}"
        )
        return
    record = image_building.build(shop, source, order)
    context.console.result({"image": record}, text.built(record), changed=True)
