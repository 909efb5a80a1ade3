"""Sends what `gpuctl sd` was asked for: one order, or a grid of them over one connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpuctl.commands import sd_failures
from gpuctl.commands.generation import generate_and_show
from gpuctl.commands.target_choice import configured_target
from gpuctl.context import Context
from gpuctl.errors import UsageError
from gpuctl.services import sd_orders
from gpuctl.services.sd_orders import Plan
from gpuctl.workloads import sd
from gpuctl.workloads.sd import Choices


@dataclass(frozen=True, slots=True)
class Delivery:
    """Where it runs, where the pictures land, and what happens then."""

    out: str | None = None
    on: str | None = None
    detach: bool = False
    open_: bool | None = None


def paint(
    context: Context,
    choices: Choices,
    inputs: Mapping[str, Path],
    grid: Sequence[str],
    delivery: Delivery,
) -> None:
    """Everything that can be refused is refused before anything is started."""
    if grid:
        from gpuctl.commands import sd_grid  # noqa: PLC0415  only for a grid

        sd_grid.paint(context, choices, inputs, grid, delivery)
        return
    destination = sd_orders.destination(delivery.out, context.settings)
    plan = sd_orders.plan(choices, destination, inputs)
    tell(context, plan)
    if context.is_dry_run:
        show_plan(context, plan, delivery.on)
        return
    with sd_failures.named():
        generate_and_show(
            context,
            plan.order,
            on=delivery.on,
            detach=delivery.detach,
            open_=delivery.open_,
        )


def tell(context: Context, plan: Plan) -> None:
    """What was rounded, and how the prompts will be read; the latter aloud when it is split."""
    for note in plan.notes:
        context.console.note(note)
    is_split = any(len(chunks.sizes) > 1 for chunks in plan.meters.values())
    if plan.meters:
        (context.console.note if is_split else context.console.detail)(plan.meter_line())


def show_plan(context: Context, plan: Plan, on: str | None) -> None:
    """--dry-run: the exact job, where it would run and at what price; nothing is connected."""
    order = plan.order
    target = configured_target(context, sd.NAME, on)
    rate = target.price_usd_h if target else None
    where = target.name if target else "an endpoint that would be deployed first"
    body = order.input
    lines = [
        f"{body['api']}, {body['width']}×{body['height']}, {body['steps']} steps "
        f"{body.get('sampler_name') or 'Euler'}, cfg {body['cfg_scale']:g}, seed {body['seed']}, "
        f"{body['count']} × png",
        plan.meter_line() or "no prompt",
        f"on: {where}" + (f" at ${rate:.2f}/h" if rate is not None else ""),
        f"into: {order.destination.folder / (order.destination.name or '')}",
    ]
    data = {
        "input": body,
        "machine": target.id if target else None,
        "price_usd_h": rate,
        "folder": str(order.destination.folder),
        "uploads": {name: str(path) for name, path in order.inputs.items()},
        "meter": plan.to_json(),
    }
    context.console.result(data, "\n".join(lines))


def no_detach(delivery: Delivery) -> None:
    """Raises UsageError: a contact sheet needs all of its pictures."""
    if delivery.detach:
        raise UsageError("--grid waits for its pictures", hint="leave --detach or --grid out")
