"""What `gpuctl flux` does first: plan, show the plan, find the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuctl.commands.picture_plan import show_plan
from gpuctl.commands.target_choice import configured_target, usable_target
from gpuctl.context import Context
from gpuctl.services import destinations
from gpuctl.services.pictures import Wish, plan
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
        show_plan(context, wish, order, configured_target(context, flux.NAME, wish.on))
        return
    destinations.check(order.destination)
    began = context.clock.now()
    pending = _rewriting(context, order.request.prompt) if wish.enhance else None
    try:
        target = usable_target(context, flux.NAME, wish.on)
        with context.job_link(target, flux.NAME) as link:
            link.dial(flux.NAME)
            from gpuctl.commands import painting, results  # noqa: PLC0415  while it connects

            painted = painting.paint(context, wish, order, link, pending, began)
    finally:
        if pending is not None:
            pending.cancel()
    results.show(context, painted, open_=open_)


def _rewriting(context: Context, prompt: str) -> Pending:
    from gpuctl.commands import enhancing  # noqa: PLC0415  only when asked for

    return enhancing.started(context, prompt)


def tables(context: Context) -> Tables:
    settings = context.settings
    return Tables(
        models=settings.table("models"),
        presets=settings.table("presets"),
        sizes=settings.table("sizes"),
        guidances=settings.table("guidances"),
    )
