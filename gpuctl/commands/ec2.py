"""Rehearses a workload's image on a cheap EC2 GPU before it goes where it costs more."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from gpuctl.commands import access, ec2_validation, leasing
from gpuctl.commands import ec2_options as options
from gpuctl.commands import ec2_text as text
from gpuctl.commands.ec2_options import desk, settled
from gpuctl.commands.machine_text import machine_data, machine_line
from gpuctl.commands.reach import behind_dashes
from gpuctl.context import Context
from gpuctl.errors import UsageError
from gpuctl.models import Machine
from gpuctl.services import ec2_desk, ec2_launching, ec2_logs, machines, spans, ssh_command
from gpuctl.services.ec2_orders import Asked

app = typer.Typer(help="Rehearse an image on EC2: validate it, or do its parts one by one.")
app.command()(ec2_validation.validate)


@app.command()
def launch(
    ctx: typer.Context,
    workload: options.WorkloadArgument = options.DEFAULT_WORKLOAD,
    type_: options.TypeOption = None,
    region: options.RegionOption = None,
    spot: options.SpotOption = None,
    ttl: options.TtlOption = None,
    from_: options.FromOption = None,
    slim: options.SlimOption = None,
    image: options.ImageOption = None,
    reuse: options.ReuseOption = False,
    replace: options.ReplaceOption = False,
) -> None:
    """Launch a GPU instance that ends itself, and wait until it can be used.

    \b
    gpuctl ec2 launch
    gpuctl ec2 launch --type g5.xlarge --region eu-west-1 --ttl 60m
    """
    context: Context = ctx.obj
    asked = Asked(tuple(type_ or ()), region, spot, ttl, from_)
    is_slim = options.is_slim(context, workload, slim)
    ref = options.image_of(context.settings, workload, is_slim=is_slim, asked=image)
    request = options.request_of(context, asked, workload, ref)
    found = settled(context)
    if context.is_dry_run:
        show_plan(context, found, asked, ref)
        return
    machine = options.existing(context, found, reuse=reuse, replace=replace)
    is_new = machine is None
    machine = machine or found.rent(asked, request)
    machine = found.reached(machine, context.connector().probe)
    ec2_launching.handed_over(found.session, machine)
    data = {"machine": machine_data(machine)}
    context.console.result(data, machine_line(machine), changed=is_new)


def show_plan(context: Context, found: ec2_desk.Desk, asked: Asked, ref: str) -> None:
    """What --dry-run shows: no call is made, neither billed nor free."""
    wishes = found.wishes(asked)
    rows = ec2_desk.price_rows(wishes)
    context.console.result(text.plan_data(wishes, ref, rows), text.plan_text(wishes, ref, rows))


app.command("test")(ec2_validation.trial)


@app.command("list")
def list_(
    ctx: typer.Context,
    fast: Annotated[bool, typer.Option("--fast", help="Read no killer of a lease back.")] = False,
) -> None:
    """List every instance of ours, in every region where one may be."""
    context: Context = ctx.obj
    found = settled(context)
    listed = found.instances()
    held = leasing.guarded(context, listed, is_fast=fast)
    usd, now = _usd(context, listed), context.clock.now()
    data = [text.instance_data(m, held[m.id], usd.get(m.id), now) for m in listed]
    context.console.result({"instances": data}, text.list_text(listed, held, usd, now))


@app.command()
def status(ctx: typer.Context, instance: options.InstanceArgument = None) -> None:
    """Show one instance: where it is, what it costs, and what ends it, each read back now."""
    context: Context = ctx.obj
    found = settled(context)
    machine = machines.refresh(found.session, found.the_instance(instance))
    guarded = leasing.guarded(context, [machine])[machine.id]
    usd, now = _usd(context, [machine]).get(machine.id), context.clock.now()
    context.console.result(
        text.instance_data(machine, guarded, usd, now),
        text.instance_text(machine, guarded, usd, now),
    )


@app.command()
def ssh(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[INSTANCE] [-- COMMAND...]", help="")
    ] = None,
) -> None:
    """Open a shell on an instance with the real ssh, our key and its pinned host key."""
    context: Context = ctx.obj
    command = behind_dashes(context)
    named = (words or [])[: len(words or []) - len(command)]
    machine = desk(context).the_instance(named[0] if named else None)
    line = access.ssh_line(context, machine, command)
    if context.is_dry_run:
        context.console.result({"argv": line}, ssh_command.shown(line))
        return
    context.console.close()
    os.execvp(line[0], line)  # the operator's own ssh, in our place


@app.command()
def logs(
    ctx: typer.Context,
    instance: options.InstanceArgument = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many.")] = 100,
    console: Annotated[
        bool, typer.Option("--console", help="The serial console instead of the container.")
    ] = False,
) -> None:
    """Show what the container says; or the instance's own console."""
    context: Context = ctx.obj
    found = desk(context)
    machine = found.the_instance(instance)
    if console:
        said = ec2_logs.console(found.session, machine, lines)
    else:
        said = ec2_logs.container(context.connector(), machine, lines)
    context.console.result({"instance": machine.name, "lines": said}, "\n".join(said))


@app.command()
def terminate(
    ctx: typer.Context,
    instance: Annotated[
        list[str] | None, typer.Argument(metavar="[INSTANCE...]", help="Default: the only one.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every instance of ours.")] = False,
) -> None:
    """End instances for good, each proven by a later read; their disks end with them.

    \b
    gpuctl ec2 terminate --yes
    """
    context: Context = ctx.obj
    found = settled(context)
    doomed = _doomed(found, instance or [], is_all=all_)
    names = ", ".join(machine.name for machine in doomed)
    if context.is_dry_run:
        context.console.result({"would_terminate": [m.id for m in doomed]}, f"would end {names}")
        return
    if doomed and not context.console.confirm(f"terminate {names} for good?"):
        raise UsageError("nothing was terminated")
    machines.terminate_all(lambda _: found.session, doomed)
    ended = "\n".join(f"{m.name} is terminated; it bills nothing any more" for m in doomed)
    data = {"terminated": [machine.id for machine in doomed]}
    context.console.result(data, ended or "no instances of ours", changed=bool(doomed))


def _doomed(found: ec2_desk.Desk, names: list[str], *, is_all: bool) -> list[Machine]:
    if is_all:
        return found.instances()
    return [found.the_instance(name) for name in names] or [found.the_instance(None)]


def _usd(context: Context, listed: list[Machine]) -> dict[str, float]:
    rates = {machine.id: machine.price_usd_h for machine in listed}
    return dict(spans.usd_so_far(context.state.journal(), rates, context.clock.now()))
