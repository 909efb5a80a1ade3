"""Looks at images without pulling them."""

from __future__ import annotations

from typing import Annotated

import typer

from gpuctl.commands import image_text as text
from gpuctl.commands.image_options import PlatformOption, SlimOption, variant
from gpuctl.context import Context
from gpuctl.services import image_inspection, image_refs, image_sources

app = typer.Typer(help="Look at images: inspect, list.")


@app.command()
def inspect(
    ctx: typer.Context,
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="Its name, or a workload.")],
    slim: SlimOption = None,
    platform: PlatformOption = None,
) -> None:
    """Show what an image is, as its registry describes it: nothing is pulled.

    Architecture, compressed size and how long a pull takes, the CUDA it needs, ports, user,
    layers above 1 GB, and what looks like a secret in its environment or history (never shown).

    \b
    gpuctl image inspect runpod/pytorch:1.0.2-cu1281-torch280-ubuntu2404
    gpuctl image inspect whisper --slim
    """
    context: Context = ctx.obj
    reference = image
    if image in image_sources.buildable():
        source = image_sources.source(image, variant(slim))
        reference = image_refs.reference(context.settings, image, source.variant)
    access = context.registries()
    context.console.step(f"asking for {reference}")
    facts = image_inspection.facts(reference, access, platform=platform)
    recorded = image_refs.recorded(context.state, reference)
    for suspicion in facts.suspicions:
        context.console.warn(f"looks like a secret – {suspicion}")
    context.console.result(text.facts_data(facts, recorded), text.facts(facts, recorded))


@app.command(name="list")
def list_(ctx: typer.Context) -> None:
    """List the images that were built or pushed from here.

    \b
    gpuctl image list
    """
    context: Context = ctx.obj
    records = image_refs.remembered(context.state)
    shown = text.listing(records) or "none yet; gpuctl build WORKLOAD makes one"
    context.console.result({"images": records}, shown)
