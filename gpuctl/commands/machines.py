"""Rents machines, looks after them and ends them."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer

from gpuctl.commands import canary, endpoint_deploy, gate
from gpuctl.commands import machine_text as text
from gpuctl.commands.canary import CanaryOption
from gpuctl.commands.gate import NoGateOption
from gpuctl.commands.leasing import (
    confirm_losses,
    drained,
    refuse_above_balance,
)
from gpuctl.commands.machine_choice import need, reconcile, the_machine, use_existing
from gpuctl.context import Context
from gpuctl.models import Json, Machine
from gpuctl.services import deploy as deploying
from gpuctl.services import image_needs, machines, orders
from gpuctl.services.lease_terms import LeaseWishes
from gpuctl.services.ssh_identity import public_line

GpuOption = Annotated[
    list[str] | None,
    typer.Option("--gpu", metavar="NAME", help="GPU type, best first; repeatable. See gpus."),
]
VramOption = Annotated[
    int | None, typer.Option("--min-vram", metavar="GB", min=1, help="Smallest GPU memory.")
]
CloudOption = Annotated[
    str | None, typer.Option("--cloud", metavar="CLOUD", help="secure, community or any.")
]
DcOption = Annotated[
    list[str] | None,
    typer.Option("--dc", metavar="ID", help="Only in this data centre; repeatable."),
]
PriceOption = Annotated[
    float | None,
    typer.Option("--max-price", metavar="USD", min=0.0, help="Never rent above this per hour."),
]
MachineArgument = Annotated[
    str | None,
    typer.Argument(metavar="[MACHINE]", help="Name, id, the end of a name, or a workload."),
]
MachinesArgument = Annotated[
    list[str], typer.Argument(metavar="MACHINE...", help="Names, ids or ends of names.")
]
TtlOption = Annotated[
    str | None, typer.Option("--ttl", metavar="TIME", help="Ends after so long: 90m, 2h, 1d.")
]
IdleStopOption = Annotated[
    str | None,
    typer.Option("--idle-stop", metavar="TIME", help="Stops after so long without work."),
]
BudgetOption = Annotated[
    float | None,
    typer.Option("--budget", metavar="USD", min=0.01, help="Ends when so much is spent."),
]
NoLeaseOption = Annotated[
    bool, typer.Option("--no-lease", help="Never ends by itself; needs --reason.")
]
ReasonOption = Annotated[
    str | None,
    typer.Option("--reason", metavar="TEXT", help="Why without a lease or a passport; recorded."),
]
WaitOption = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it can be used.")]


def deploy(
    ctx: typer.Context,
    workload: Annotated[str, typer.Argument(help="What it is for.")] = "flux",
    gpu: GpuOption = None,
    min_vram: VramOption = None,
    cloud: CloudOption = None,
    dc: DcOption = None,
    volume: Annotated[
        str | None, typer.Option("--volume", metavar="ID", help="Network volume at /workspace.")
    ] = None,
    image: Annotated[
        str | None, typer.Option("--image", metavar="REF", help="Container image.")
    ] = None,
    slim: Annotated[bool, typer.Option("--slim", help="The workload's leaner image.")] = False,
    max_price: PriceOption = None,
    env: Annotated[
        list[str] | None,
        typer.Option("--env", metavar="K=V", help="Variable in the container; repeatable."),
    ] = None,
    ttl: TtlOption = None,
    idle_stop: IdleStopOption = None,
    budget: BudgetOption = None,
    no_lease: NoLeaseOption = False,
    reason: ReasonOption = None,
    wait: WaitOption = True,
    canary_: CanaryOption = None,
    no_gate: NoGateOption = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Rent a new one, then terminate the old one.")
    ] = False,
    serverless: Annotated[
        bool, typer.Option("--serverless", help="An endpoint with workers that come and go.")
    ] = False,
) -> None:
    """Rent a GPU machine: the cheapest that fits and is to be had. Nothing is left half-made.

    \b
    gpuctl deploy flux --gpu "RTX 4090" --max-price 0.80 --ttl 2h --idle-stop 20m
    gpuctl deploy tts --serverless --dry-run
    """
    context: Context = ctx.obj
    if serverless:
        wished = endpoint_deploy.wishes(gpu, min_vram, dc, volume, image, max_price, env)
        only = (cloud, ttl, idle_stop, budget, reason, canary_, slim or None, no_lease or None)
        endpoint_deploy.deploy(context, workload, wished, only, replace=replace)
        return
    unleased = None if no_gate and not no_lease else reason  # one reason serves both waivers
    wishes = orders.Wishes(
        gpus=orders.listed(gpu or ()),
        min_vram_gb=min_vram,
        cloud=cloud,
        data_centers=orders.listed(dc or ()),
        volume_id=volume,
        image=orders.slim_image(context.settings, workload, image) if slim else image,
        max_price_usd_h=max_price,
        lease=LeaseWishes(ttl, idle_stop, budget, no_lease, unleased),
        env=orders.environment(env or ()),
    )
    order = _ordered(context, workload, wishes)
    if order.lease and order.lease.budget_usd:
        refuse_above_balance(context, order.lease.budget_usd)
    is_tried = canary.is_wanted(context, canary_, wait=wait)
    if context.is_dry_run:
        _show_plan(context, order, is_tried, gate.told(context, order, no_gate, reason))
        return
    reconcile(context)
    existing = machines.for_workload(context.session(), workload)
    if existing and use_existing(context, existing, replace=replace):
        _reuse(context, existing.name, wait, is_tried)
    else:
        order = gate.passed(context, order, no_gate, reason)
        _rent(context, order, wait, is_tried, existing)


def start(
    ctx: typer.Context,
    machine: MachineArgument = None,
    wait: WaitOption = True,
    canary_: CanaryOption = None,
) -> None:
    """Start a stopped machine and wait until it can be used.

    \b
    gpuctl start flux
    """
    context: Context = ctx.obj
    reconcile(context)
    _reuse(context, machine, wait, canary.is_wanted(context, canary_, wait=wait))


def _ordered(context: Context, workload: str, wishes: orders.Wishes) -> deploying.Order:
    """The order, with the CUDA version that an image of ours states."""
    order = orders.order(
        context.settings, workload, need(context, workload), public_line(context.ssh_key), wishes
    )
    needed = image_needs.as_pushed(context.settings, context.state, order.workload, order.need)
    return dataclasses.replace(order, need=needed)


def _show_plan(
    context: Context, order: deploying.Order, is_tried: bool, gate_: Json | None
) -> None:
    session = context.session()
    plan = deploying.plan(session, order)
    data = {
        **text.plan_data(plan, deploying.preview(session, plan)),
        "canary": is_tried,
        "gate": gate_,
    }
    body = json.dumps(data["body"], indent=2, ensure_ascii=False)
    context.console.result(
        data,
        f"would rent for {order.workload}:\n{text.plan_text(plan)}\n"
        f"{canary.plan_row(is_tried, order.workload)}\n{gate.row(gate_)}POST /v2/pods {body}",
    )


def _rent(
    context: Context, order: deploying.Order, wait: bool, is_tried: bool, old: Machine | None
) -> None:
    if old:
        _give_back(context, old)
    session = context.session()
    image_needs.must_be_there(
        context.settings,
        context.state,
        order.workload,
        order.need.image,
        context.registries,
        context.console,
    )
    plan = deploying.plan(session, order)
    context.console.note(f"renting for {order.workload}:\n{text.plan_text(plan)}")
    machine = deploying.deploy(session, plan, probe=context.connector().probe, wait=wait)
    shown = canary.prove(context, machine, deploying.give_up, old) if is_tried else {}
    if old:
        machines.terminate(session, machines.find(session, old.name))
    _show(context, machine, shown, changed=True)


def _give_back(context: Context, old: Machine) -> None:
    """The machine that is to be replaced: its finished work comes home before anything is rented.

    Raises UsageError when work would be lost and nobody agrees.
    """
    if context.is_dry_run:
        return
    current = machines.refresh(context.session(), old)
    losses = drained(context, [current], is_discarding=False)[current.id].losses
    if losses:
        confirm_losses(context, current, losses, ())


def _reuse(context: Context, name: str | None, wait: bool, is_tried: bool) -> None:
    session = context.session()
    found = the_machine(context, name)
    if context.is_dry_run:
        data = {"machine": text.machine_data(found)}
        context.console.result(data, f"would start {found.name}")
        return
    was = machines.refresh(session, found)
    limit_s = context.settings.number("runpod.boot_limit_s")
    machine = machines.start(
        session, was, limit_s=limit_s, probe=context.connector().probe, wait=wait
    )
    is_changed = was.status != machine.status
    shown = canary.prove(context, machine, canary.stop_again) if is_tried and is_changed else {}
    _show(context, machine, shown, changed=is_changed)


def _show(context: Context, machine: Machine, shown: Json, *, changed: bool) -> None:
    data = {"machine": text.machine_data(machine), **text.service_data(machine), **shown}
    lines = [text.machine_line(machine), *text.service_lines(machine)]
    context.console.result(data, "\n".join(lines), changed=changed)
