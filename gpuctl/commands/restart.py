"""Restarts a machine; on another host, when its own is full and a network volume allows it."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from gpuctl.commands import canary
from gpuctl.commands import machine_text as text
from gpuctl.commands.canary import CanaryOption
from gpuctl.commands.machine_choice import need, reconcile, the_machine
from gpuctl.commands.machines import MachineArgument, WaitOption
from gpuctl.context import Context
from gpuctl.errors import GpuctlError, NoCapacity, UsageError
from gpuctl.holdings import PastOrder
from gpuctl.models import Machine
from gpuctl.services import deploy, leases, orders, restarting
from gpuctl.services.deploy import Order
from gpuctl.services.ssh_identity import public_line


def restart(
    ctx: typer.Context,
    machine: MachineArgument = None,
    recreate: Annotated[
        bool,
        typer.Option("--recreate", help="When its host is full: rent another on the same volume."),
    ] = False,
    wait: WaitOption = True,
    canary_: CanaryOption = None,
) -> None:
    """Restart a machine, or start a stopped one, and wait until it can be used.

    When its host has no GPU left, and its data is on a network volume, another machine is rented
    beside that volume (after asking), and the old one ended once the new one can be used.

    \b
    gpuctl restart flux
    gpuctl restart flux --recreate
    """
    context: Context = ctx.obj
    is_tried = canary.is_wanted(context, canary_, wait=wait)
    reconcile(context)
    found = the_machine(context, machine)
    if context.is_dry_run:
        data = {"machine": text.machine_data(found)}
        context.console.result(data, f"would restart {found.name}")
        return
    _check_jobs(context, found)
    limit_s, probe = context.settings.number("runpod.boot_limit_s"), context.connector().probe
    try:
        current = restarting.restart(
            context.session(), found, limit_s=limit_s, probe=probe, wait=wait
        )
    except restarting.HOST_LOST as refusal:
        current = _moved(context, found, refusal, recreate=recreate)
    is_new = current.id != found.id
    end = deploy.give_up if is_new else canary.stop_again
    shown = canary.prove(context, current, end) if is_tried else {}
    context.console.result(
        {"machine": text.machine_data(current), "recreated": is_new, **shown},
        text.machine_line(current),
        changed=True,
    )


def _check_jobs(context: Context, machine: Machine) -> None:
    """A restart ends what runs there. Raises UsageError when that is not wanted."""
    jobs = context.state.jobs(limit=1000)
    running = [
        job.id
        for job in jobs
        if job.machine_id == machine.id and job.status in ("submitted", "running")
    ]
    if running and not context.console.confirm(
        f"{', '.join(running)} may still run on {machine.name}, and would end. Restart it?"
    ):
        raise UsageError("nothing was restarted", hint=f"gpuctl jobs attach {running[0]}")


def _moved(context: Context, old: Machine, refusal: GpuctlError, *, recreate: bool) -> Machine:
    """Another machine in its place. Raises what refused the restart when nobody wants one."""
    session, console = context.session(), context.console
    past = context.account().past_order(old.id)
    plan = restarting.elsewhere(session, past, lambda was: _order(context, was), refusal)
    console.warn(refusal.message)
    console.note(f"the same again, beside its volume:\n{text.plan_text(plan)}")
    if not recreate:
        if not (console.can_ask or console.options.yes):
            hint = f"gpuctl restart {old.name} --recreate"
            raise NoCapacity(refusal.message, hint=hint) from refusal
        if not console.confirm(f"rent it, and end {old.name} when it can be used?"):
            raise refusal
    return restarting.recreate(session, plan, old, probe=context.connector().probe)


def _order(context: Context, past: PastOrder) -> Order:
    """What the old machine was, under today's limits; its price is not promised to be the same."""
    workload, was = past.request.workload, past.request.need
    wanted = replace(need(context, workload), disk_gb=was.disk_gb, ports=was.ports)
    wishes = orders.Wishes(
        cloud=past.cloud, volume_id=past.request.volume_id, image=was.image, env=past.request.env
    )
    key = past.request.public_key or public_line(context.ssh_key)
    made = orders.order(context.settings, workload, wanted, key, wishes)
    intent = context.state.intent(past.request.name)
    held = leases.of_intent(intent) if intent else None
    return replace(made, gpu_count=past.gpu_count, lease=held.terms if held else made.lease)
