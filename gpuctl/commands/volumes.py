"""Looks after network volumes: storage that outlives machines, and bills until it is deleted."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Annotated

import typer

from gpuctl.commands import money_text as text
from gpuctl.commands.machine_choice import storage
from gpuctl.commands.render import money
from gpuctl.context import Context
from gpuctl.errors import UsageError
from gpuctl.services import volumes

app = typer.Typer(help="Look after network volumes: list, create, resize, delete.")

VolumeArgument = Annotated[str, typer.Argument(metavar="VOLUME", help="Its id, or its name.")]


@app.command("list")
def list_(ctx: typer.Context) -> None:
    """List the network volumes, their price a month, and who mounts them.

    \b
    gpuctl volumes list
    """
    context: Context = ctx.obj
    listed = context.account().volumes()
    data = {"volumes": [text.volume_data(volume) for volume in listed]}
    context.console.result(data, text.volumes_text(listed))


@app.command()
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it shall be called.")],
    size: Annotated[int, typer.Option("--size", metavar="GB", help="10 to 4096; it can grow.")],
    dc: Annotated[
        str, typer.Option("--dc", metavar="ID", help="Data centre; only machines there mount it.")
    ],
) -> None:
    """Make a network volume. It bills from now on, mounted or not, until it is deleted.

    \b
    gpuctl volumes create models --size 100 --dc EU-RO-1
    """
    context: Context = ctx.obj
    depot = storage(context)
    wanted = volumes.order(depot, name, size, dc)
    price = f"{money(wanted.usd_month, 2)} a month"
    if context.is_dry_run:
        data = {"order": asdict(wanted), "usd_month": wanted.usd_month}
        context.console.result(data, f"would make {name}: {size} GB in {dc}, {price}")
        return
    volumes.reconcile(depot)
    if not context.console.confirm(f"make {name}: {size} GB in {dc}, {price}, until deleted?"):
        raise UsageError("nothing was made")
    volume = volumes.create(depot, wanted)
    context.console.result(
        {"volume": text.volume_data(volume)},
        f"{volume.name} is {volume.id}: {volume.size_gb} GB in {volume.data_center}, {price}\n"
        f"use it: gpuctl deploy --volume {volume.id}",
        changed=True,
    )


@app.command()
def resize(
    ctx: typer.Context,
    volume: VolumeArgument,
    size: Annotated[int, typer.Argument(metavar="GB", help="The new size; only larger.")],
) -> None:
    """Let a volume grow. It cannot shrink.

    \b
    gpuctl volumes resize models 200
    """
    context: Context = ctx.obj
    depot = storage(context)
    found = volumes.find(depot, volume)
    prices = (
        f"{money(found.usd_month, 2)} → {money(replace(found, size_gb=size).usd_month, 2)} a month"
    )
    volumes.check_growth(found, size)
    if context.is_dry_run:
        context.console.result(
            {"usd_month": replace(found, size_gb=size).usd_month},
            f"would grow {found.name} to {size} GB: {prices}",
        )
        return
    if not context.console.confirm(f"grow {found.name} to {size} GB: {prices}?"):
        raise UsageError("nothing was changed")
    grown = volumes.resize(depot, found, size)
    context.console.result(
        {"volume": text.volume_data(grown)}, f"{grown.name} has {grown.size_gb} GB", changed=True
    )


@app.command()
def delete(
    ctx: typer.Context,
    volume: VolumeArgument,
    confirm: Annotated[
        str | None, typer.Option("--confirm", metavar="NAME", help="Its name, typed in advance.")
    ] = None,
) -> None:
    """Delete a volume and everything on it. One that is mounted is refused.

    \b
    gpuctl volumes delete agv6w2qcg7 --confirm=models
    """
    context: Context = ctx.obj
    depot = storage(context)
    found = volumes.find(depot, volume)
    volumes.check_detached(found)
    price = f"{money(found.usd_month, 2)} a month"
    if context.is_dry_run:
        context.console.result(
            {"volume": text.volume_data(found)}, f"would delete {found.name}, {price}"
        )
        return
    given = confirm
    if given is None:
        question = f"{found.size_gb} GB are lost for good; type {found.name} to go on: "
        given = context.console.word(question, f"--confirm={found.name}")
    if given != found.name:
        raise UsageError("nothing was deleted", hint=f"--confirm={found.name}")
    volumes.delete(depot, found)
    context.console.result(
        {"deleted": found.id}, f"{found.name} is deleted; {price} less", changed=True
    )
