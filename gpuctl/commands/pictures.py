"""What every command that makes pictures does first: plan, show the plan, find the machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gpuctl.commands.picture_plan import show_plan
from gpuctl.context import Context
from gpuctl.models import Machine
from gpuctl.services import destinations, targets
from gpuctl.services.pictures import Plan, Wish, plan
from gpuctl.workloads import flux
from gpuctl.workloads.flux_models import Tables

if TYPE_CHECKING:
    from gpuctl.services.enhancement import Pending


def paint_and_show(context: Context, wish: Wish, *, open_: bool | None) -> None:
    """One `gpuctl flux`: everything that can be refused is refused before anything is started."""
    order = plan(wish, tables(context), context.settings.path("flux.output_dir"))
    for note in order.request.notes:
        context.console.note(note)
    if context.is_dry_run:
        show_plan(context, wish, order, configured_machine(context, wish.on))
        return
    destinations.check(order.destination)
    began = context.clock.now()
    pending = _start_enhancement(context, wish, order)
    try:
        with context.link(usable_machine(context, wish.on)) as link:
            link.dial(flux.NAME)
            from gpuctl.commands import painting  # noqa: PLC0415  while the connection is made

            painted = painting.paint(context, wish, order, link, pending, began)
    finally:
        if pending is not None:
            pending.cancel()
    painting.show(context, painted, open_=open_)


def _start_enhancement(context: Context, wish: Wish, order: Plan) -> Pending | None:
    """Claude thinks while the connection is made."""
    if not wish.enhance:
        return None
    from gpuctl.services import enhancement  # noqa: PLC0415  only when asked for

    request = enhancement.request_from(
        context.settings,
        order.request.prompt,
        project_folder=context.project_folder,
        cache_folder=context.cache_folder,
    )
    return enhancement.start(request)


def configured_machine(context: Context, on: str | None) -> Machine | None:
    return targets.resolve(
        on,
        flux.NAME,
        settings=context.settings,
        memory=context.state,
        provider=context.provider,
        ssh_config=Path("~/.ssh/config").expanduser(),
    )


def usable_machine(context: Context, on: str | None) -> Machine:
    """The machine to paint on. In the simulator, where it costs nothing, one is rented first."""
    machine = configured_machine(context, on)
    if machine is not None:
        return machine
    if not context.is_sim:
        raise targets.none_for(flux.NAME)
    return _rent(context, flux.NAME)


def _rent(context: Context, workload: str) -> Machine:
    from gpuctl.services import deploy, orders  # noqa: PLC0415  only for the first picture
    from gpuctl.services.ssh_identity import public_line  # noqa: PLC0415  likewise

    session = context.session()
    order = orders.order(
        context.settings, workload, context.need(workload), public_line(context.ssh_key)
    )
    plan = deploy.plan(session, order)
    context.console.note(f"no machine yet: renting a simulated {plan.first.gpu_name}")
    return deploy.deploy(session, plan, probe=context.connector().probe)


def tables(context: Context) -> Tables:
    settings = context.settings
    return Tables(
        models=settings.table("models"),
        presets=settings.table("presets"),
        sizes=settings.table("sizes"),
        guidances=settings.table("guidances"),
    )
