"""Rents machines, looks after them and ends them."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from gpuctl.commands import machine_text as text
from gpuctl.commands.machine_choice import need, reconcile, the_machine, use_existing
from gpuctl.context import Context
from gpuctl.errors import NotFound, UsageError
from gpuctl.services import deploy as deploying
from gpuctl.services import machines, orders
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
    max_price: PriceOption = None,
    env: Annotated[
        list[str] | None,
        typer.Option("--env", metavar="K=V", help="Variable in the container; repeatable."),
    ] = None,
    wait: WaitOption = True,
    replace: Annotated[
        bool, typer.Option("--replace", help="Rent a new one, then terminate the old one.")
    ] = False,
) -> None:
    """Rent a GPU machine: the cheapest that fits and is to be had. Nothing is left half-made.

    \b
    gpuctl deploy flux --gpu "RTX 4090" --max-price 0.80
    gpuctl deploy flux --dry-run
    """
    context: Context = ctx.obj
    wishes = orders.Wishes(
        gpus=orders.listed(gpu or ()),
        min_vram_gb=min_vram,
        cloud=cloud,
        data_centers=orders.listed(dc or ()),
        volume_id=volume,
        image=image,
        max_price_usd_h=max_price,
        env=orders.environment(env or ()),
    )
    order = orders.order(
        context.settings, workload, need(context, workload), public_line(context.ssh_key), wishes
    )
    if context.is_dry_run:
        _show_plan(context, order)
        return
    reconcile(context)
    existing = machines.for_workload(context.session(), workload)
    if existing and use_existing(context, existing, replace=replace):
        _reuse(context, existing.name, wait)
        return
    _rent(context, order, wait, existing.name if existing else None)


def status(ctx: typer.Context, machine: MachineArgument = None) -> None:
    """Show every machine of the account and what it costs, as the provider sees it now.

    \b
    gpuctl status
    """
    context: Context = ctx.obj
    reconcile(context)
    session = context.session()
    if machine:
        found = machines.refresh(session, machines.find(session, machine))
        context.console.result({"machine": text.machine_data(found)}, text.machine_line(found))
        return
    listed = machines.status(session)
    data = [{**text.machine_data(entry.machine), "ours": entry.is_ours} for entry in listed]
    unresolved = [asdict(intent) for intent in session.state.unresolved()]
    context.console.result(
        {"machines": data, "usd_h": text.burn_usd_h(listed), "unresolved": unresolved},
        text.status_text(listed),
    )


def start(ctx: typer.Context, machine: MachineArgument = None, wait: WaitOption = True) -> None:
    """Start a stopped machine and wait until it can be used.

    \b
    gpuctl start flux
    """
    context: Context = ctx.obj
    reconcile(context)
    _reuse(context, machine, wait)


def stop(
    ctx: typer.Context,
    machine: MachineArgument = None,
    unlock: Annotated[
        bool,
        typer.Option("--unlock", help="Lift the pod's lock first: a locked one is not stopped."),
    ] = False,
) -> None:
    """Stop a machine: its GPU is given back, its volume stays and stays billed.

    \b
    gpuctl stop flux
    """
    context: Context = ctx.obj
    reconcile(context)
    session = context.session()
    found = the_machine(context, machine)
    if context.is_dry_run:
        context.console.result({"machine": text.machine_data(found)}, f"would stop {found.name}")
        return
    was = machines.refresh(session, found)
    if unlock:
        context.account().unlock(found.id)
    stopped = machines.stop(session, found)
    context.console.result(
        {"machine": text.machine_data(stopped)},
        f"{stopped.name} is {stopped.status}; its volume is still billed",
        changed=was.status != stopped.status,
    )


def terminate(ctx: typer.Context, machine: MachinesArgument) -> None:
    """End machines for good. What is on their own volumes is lost; network volumes stay.

    \b
    gpuctl terminate gpuctl-flux-01k9 --yes
    """
    context: Context = ctx.obj
    reconcile(context)
    session = context.session()
    found, gone = [], []
    for name in machine:
        try:
            found.append(machines.find(session, name))
        except NotFound:
            if not machines.was_ours(session, name):
                raise
            gone.append(name)
    names = ", ".join(item.name for item in found)
    if context.is_dry_run:
        context.console.result({"would_terminate": [m.id for m in found]}, f"would end {names}")
        return
    if found and not context.console.confirm(f"terminate {names} for good?"):
        raise UsageError("nothing was terminated")
    machines.terminate_all(session, found)
    ended = "\n".join(f"{item.name} is terminated; it bills nothing any more" for item in found)
    past = "\n".join(f"{name} was terminated before" for name in gone)
    context.console.result(
        {"terminated": [item.id for item in found], "already_gone": gone},
        "\n".join(filter(None, (ended, past))),
        changed=bool(found),
    )


def _show_plan(context: Context, order: deploying.Order) -> None:
    session = context.session()
    plan = deploying.plan(session, order)
    data = text.plan_data(plan, deploying.preview(session, plan))
    body = json.dumps(data["body"], indent=2, ensure_ascii=False)
    context.console.result(
        data, f"would rent for {order.workload}:\n{text.plan_text(plan)}\nPOST /v2/pods {body}"
    )


def _rent(context: Context, order: deploying.Order, wait: bool, replaces: str | None) -> None:
    session = context.session()
    plan = deploying.plan(session, order)
    context.console.note(f"renting for {order.workload}:\n{text.plan_text(plan)}")
    machine = deploying.deploy(session, plan, probe=context.connector().probe, wait=wait)
    if replaces:
        machines.terminate(session, machines.find(session, replaces))
    _show(context, text.machine_line(machine), text.machine_data(machine), changed=True)


def _reuse(context: Context, name: str | None, wait: bool) -> None:
    session = context.session()
    found = the_machine(context, name)
    if context.is_dry_run:
        _show(context, f"would start {found.name}", text.machine_data(found))
        return
    was = machines.refresh(session, found)
    limit_s = context.settings.number("runpod.boot_limit_s")
    machine = machines.start(
        session, was, limit_s=limit_s, probe=context.connector().probe, wait=wait
    )
    is_changed = was.status != machine.status
    _show(context, text.machine_line(machine), text.machine_data(machine), changed=is_changed)


def _show(context: Context, line: str, data: dict[str, object], *, changed: bool = False) -> None:
    context.console.result({"machine": data}, line, changed=changed)
