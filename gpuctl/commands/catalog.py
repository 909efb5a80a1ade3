"""What there is to rent, and where."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from gpuctl.commands import money_text
from gpuctl.commands.machine_text import offers_text
from gpuctl.commands.machines import CloudOption, DcOption, GpuOption, PriceOption, VramOption
from gpuctl.context import Context
from gpuctl.models import Need
from gpuctl.services import offers, orders, places


def gpus(
    ctx: typer.Context,
    gpu: GpuOption = None,
    min_vram: VramOption = None,
    cloud: CloudOption = None,
    dc: DcOption = None,
    max_price: PriceOption = None,
    sort: Annotated[
        str, typer.Option("--sort", metavar="KEY", help="price, vram, stock or value ($ per GB).")
    ] = "price",
    all_: Annotated[bool, typer.Option("--all", help="Also what is out of stock.")] = False,
) -> None:
    """List the GPUs on offer, the cheapest first. Prices are for one card and hour.

    \b
    gpuctl gpus --min-vram 40 --cloud any
    gpuctl gpus --sort value
    """
    context: Context = ctx.obj
    tier = orders.cloud(context.settings, cloud)
    anything = Need(image="", vram_gb=0, disk_gb=0, volume_gb=0)
    found = offers.listing(
        context.provider().offers(anything, cloud=tier, gpu_count=1),
        gpus=orders.listed(gpu or ()),
        min_vram_gb=min_vram or 0,
        max_price_usd_h=max_price,
        data_centers=orders.listed(dc or ()),
        with_unavailable=all_,
    )
    found = places.ordered(found, sort)
    shown = offers_text(found) or "nothing fits; --all also shows what is out of stock"
    context.console.result({"offers": [asdict(offer) for offer in found]}, shown)


def datacenters(
    ctx: typer.Context,
    gpu: Annotated[
        str | None, typer.Option("--gpu", metavar="NAME", help="Only where this GPU is in stock.")
    ] = None,
    volumes: Annotated[
        bool, typer.Option("--volumes", help="Only where there are network volumes.")
    ] = False,
) -> None:
    """List the data centres and what each has in stock.

    \b
    gpuctl datacenters --gpu 4090 --volumes
    """
    context: Context = ctx.obj
    found = places.fitting(context.account().data_centers(), gpu=gpu, with_volumes=volumes)
    data = {"datacenters": [{**asdict(each), "stock": dict(each.stock)} for each in found]}
    context.console.result(data, money_text.centers_text(found))
