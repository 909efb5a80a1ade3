"""Pushes the image of a workload to its registry."""

from __future__ import annotations

import typer

from gpuctl.commands import image_text as text
from gpuctl.commands.image_options import (
    SlimOption,
    TagOption,
    WorkloadArgument,
    variant,
    workshop,
)
from gpuctl.context import Context
from gpuctl.services import image_building, image_refs, image_sources


def push(
    ctx: typer.Context,
    workload: WorkloadArgument,
    slim: SlimOption = None,
    tag: TagOption = None,
) -> None:
    """Push the image of a workload, read it back from the registry, and record its digest.

    The account is dockerhub.username with dockerhub.token, which the engine gets on stdin and
    forgets again; without a token the engine's own login is used.

    \b
    gpuctl push whisper --slim
    """
    context: Context = ctx.obj
    source = image_sources.source(workload, variant(slim))
    reference = image_refs.tagged(context.settings, workload, source.variant, tag)
    shop = workshop(context)
    commands = shop.engine.push_commands(reference, shop.access.login_for(reference))
    if context.is_dry_run:
        data = {"reference": str(reference), "commands": [str(each) for each in commands]}
        shown = "\n".join(f"would run: {each}" for each in commands)
        context.console.result(data, shown)
        return
    pushed = image_building.push(shop, reference, source)
    context.console.result(
        text.pushed_data(pushed, shop.engine), text.pushed(pushed, shop.engine), changed=True
    )
