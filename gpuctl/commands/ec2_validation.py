"""Validates an image on EC2 from launch to end, or tries it on an instance that is there."""

from __future__ import annotations

from typing import Annotated

import typer

from gpuctl.commands import ec2_options as options
from gpuctl.commands import ec2_text as text
from gpuctl.commands.ec2_options import settled
from gpuctl.context import Context
from gpuctl.models import Json, Machine
from gpuctl.services import (
    ec2_desk,
    ec2_launching,
    machines,
    passports,
    validation,
    validation_orders,
)
from gpuctl.services import validation_checks as checks
from gpuctl.services.ec2_orders import Asked
from gpuctl.services.validation import Rehearsal, Result
from gpuctl.services.validation_orders import Order


def validate(
    ctx: typer.Context,
    workload: options.WorkloadArgument = options.DEFAULT_WORKLOAD,
    slim: options.SlimOption = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the instance until its deadline.")
    ] = False,
    pull: options.PullOption = False,
    type_: options.TypeOption = None,
    region: options.RegionOption = None,
    spot: options.SpotOption = None,
    ttl: options.TtlOption = None,
    from_: options.FromOption = None,
    image: options.ImageOption = None,
    reuse: options.ReuseOption = False,
    replace: options.ReplaceOption = False,
) -> None:
    """Prove an image on a cheap GPU: launch, pull, run, health, a real transcription, terminate.

    Writes a passport for the image's digest, which `deploy` asks for. Whatever happens, the
    instance is ended and that is read back; exit code 9 says what may still bill. It also ends
    itself after --ttl, and `gpuctl reap` ends what this command could not.

    \b
    gpuctl ec2 validate --slim
    gpuctl ec2 validate whisper --type g5.xlarge --keep
    """
    context: Context = ctx.obj
    checks.of(workload)
    asked = Asked(tuple(type_ or ()), region, spot, ttl, from_)
    order = _order(context, asked, workload, slim=slim, image=image, pull=pull, keep=keep)
    found = settled(context)
    if context.is_dry_run:
        _show_plan(context, found, order)
        return
    existing = options.existing(context, found, reuse=reuse, replace=replace)
    rehearsal = Rehearsal(found, context.connector(), order)
    result = rehearsal.run(existing, lambda seen: _keep_passport(context, order, seen))
    _show(context, order, result)


def trial(
    ctx: typer.Context,
    workload: options.WorkloadArgument = options.DEFAULT_WORKLOAD,
    instance: options.InstanceArgument = None,
    slim: options.SlimOption = None,
    pull: options.PullOption = False,
    image: options.ImageOption = None,
) -> None:
    """Pull, run and try an image on an instance that is there; the instance goes on.

    \b
    gpuctl ec2 test --slim --pull
    """
    context: Context = ctx.obj
    checks.of(workload)
    order = _order(context, Asked(), workload, slim=slim, image=image, pull=pull, keep=True)
    found = settled(context)
    machine = machines.refresh(found.session, found.the_instance(instance))
    if context.is_dry_run:
        data = {"instance": machine.name, "image": order.image}
        context.console.result(data, f"would try {order.image} on {machine.name}")
        return
    result = Rehearsal(found, context.connector(), order).try_out(machine)
    _keep_passport(context, order, result)
    if result.error is not None:
        raise result.error
    ec2_launching.handed_over(found.session, machine)
    _show(context, order, result)


def _order(
    context: Context,
    asked: Asked,
    workload: str,
    *,
    slim: bool | None,
    image: str | None,
    pull: bool,
    keep: bool,
) -> Order:
    settings = context.settings
    is_slim = options.is_slim(context, workload, slim)
    ref = options.image_of(settings, workload, is_slim=is_slim, asked=image)
    request = options.request_of(context, asked, workload, ref)
    return validation_orders.order(
        settings,
        context.state,
        request,
        asked,
        context.section(workload),
        variant="slim" if is_slim else "full",
        is_pulled=pull,
        is_kept=keep,
        registries=context.registries(),
        report=context.console,
    )


def _keep_passport(context: Context, order: Order, result: Result) -> Json:
    shelf = passports.shelf(context.state_folder, context.state)
    return passports.write(
        shelf, order, result, now=context.clock.now(), is_simulated=context.is_sim
    )


def _show_plan(context: Context, found: ec2_desk.Desk, order: Order) -> None:
    wishes = found.wishes(order.asked)
    rows = ec2_desk.price_rows(wishes)
    steps = ", ".join(checks.of(order.workload))
    context.console.result(
        {**text.plan_data(wishes, order.image, rows), "checks": list(checks.of(order.workload))},
        f"{text.plan_text(wishes, order.image, rows)}\nthen: bootstrap, pull, run, {steps}, "
        f"{'keep' if order.is_kept else 'terminate'}",
    )


def _show(context: Context, order: Order, result: Result) -> None:
    machine: Machine | None = result.machine
    assert machine is not None
    path = passports.shelf(context.state_folder, context.state).path(result.digest)
    data = {**validation.as_data(result), "passport": str(path), "instance": machine.name}
    context.console.result(
        {**data, "kept": order.is_kept, "not_covered": passports.not_covered(result.gpu)},
        text.result_text(order.image, result, path, passports.not_covered(result.gpu)),
        changed=True,
    )
