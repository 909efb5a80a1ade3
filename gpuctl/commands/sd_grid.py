"""`--grid`: every pair of values a picture with a receipt of its own, and a labelled sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from gpuctl.commands import sd_failures
from gpuctl.commands.generation import send
from gpuctl.commands.render import money
from gpuctl.commands.results import job_data
from gpuctl.commands.sd_painting import Delivery, no_detach, show_plan, tell
from gpuctl.commands.target_choice import usable_target
from gpuctl.context import Context
from gpuctl.errors import GpuctlError, JobFailed, UsageError
from gpuctl.models import JobRecord, Json
from gpuctl.services import contact_sheet, destinations, sd_orders
from gpuctl.services.contact_sheet import Sheet
from gpuctl.services.destinations import Destination
from gpuctl.services.jobs import cost_usd
from gpuctl.services.sd_orders import Plan
from gpuctl.workloads import sd, sd_grid, sd_prompt
from gpuctl.workloads.sd import Choices
from gpuctl.workloads.sd_grid import Cell, Grid

Place = tuple[int, int]


def paint(
    context: Context,
    choices: Choices,
    inputs: Mapping[str, Path],
    texts: Sequence[str],
    delivery: Delivery,
) -> None:
    """Raises UsageError before anything is sent; afterwards a cell that fails leaves a gap."""
    grid = sd_grid.parse(texts)
    no_detach(delivery)
    if choices.count != 1:
        raise UsageError("--grid paints one picture per cell", hint="leave -n out")
    destination = sd_orders.destination(delivery.out, context.settings)
    if destination.name is not None:
        raise UsageError("--out names one file, a grid makes many", hint="give a folder")
    plans = [
        (cell, sd_orders.plan(cell.choices, destination, inputs, grid.name(cell)))
        for cell in grid.cells(choices)
    ]
    tell(context, plans[0][1])
    if context.is_dry_run:
        _show_plans(context, grid, [plan for _, plan in plans], delivery.on)
        return
    destinations.check(destination)
    made, failures = _painted(context, plans, delivery.on)
    _show(context, choices, grid, destination, made, failures, open_=delivery.open_)


def _painted(
    context: Context, plans: list[tuple[Cell, Plan]], on: str | None
) -> tuple[dict[Place, JobRecord], dict[Place, JobFailed]]:
    """One after the other over one connection. What all cells share fails the first one, and
    then nothing was lost by stopping."""
    made: dict[Place, JobRecord] = {}
    failures: dict[Place, JobFailed] = {}
    with context.job_link(usable_target(context, sd.NAME, on), sd.NAME) as link:
        link.dial(sd.NAME)
        for number, (cell, plan) in enumerate(plans, 1):
            context.console.step(f"picture {number} of {len(plans)}")
            place = (cell.column, cell.row)
            try:
                made[place] = send(context, plan.order, link, detach=False).record
            except JobFailed as failure:
                if not made:
                    with sd_failures.named():
                        raise
                failures[place] = failure
                context.console.warn(f"picture {number} of {len(plans)}: {failure.message}")
    return made, failures


def _show(
    context: Context,
    choices: Choices,
    grid: Grid,
    destination: Destination,
    made: Mapping[Place, JobRecord],
    failures: Mapping[Place, JobFailed],
    *,
    open_: bool | None,
) -> None:
    pictures = {place: Path(record.files[0]) for place, record in made.items() if record.files}
    stem = f"{sd_prompt.slug(choices.prompt)}-{choices.seed}-grid"
    target = destination.path(stem, "png")
    title = f"{sd_prompt.without_tags(choices.prompt)} · seed {choices.seed}"
    size = contact_sheet.write(Sheet(title, grid.columns, grid.rows, pictures), target)
    cells = [_cell(grid, place, record) for place, record in made.items()]
    spent = [cost_usd(record) for record in made.values()]
    cost = sum(part for part in spent if part is not None) if any(spent) else None
    data = {
        "sheet": str(target),
        "width": size[0],
        "height": size[1],
        "columns": grid.columns,
        "rows": grid.rows,
        "cells": cells,
        "failed": [{"column": c, "row": r, "error": e.message} for (c, r), e in failures.items()],
        "cost_usd": cost,
    }
    paid = f" · {money(cost)}" if cost is not None else ""
    context.console.note(
        f"{len(pictures)} pictures · {len(grid.columns)} × {len(grid.rows)} · "
        f"sheet {size[0]}×{size[1]}{paid}"
    )
    if failures:
        raise GpuctlError(
            f"{len(failures)} of {len(made) + len(failures)} pictures failed; "
            f"the others and the sheet are in {target}",
            hint=next(iter(failures.values())).hint,
            details=data,
        )
    context.console.result(data, str(target), changed=True)
    wanted = context.settings.text("sd.open")
    if open_ or (open_ is None and (wanted == "always" or wanted == "auto")):
        _open(context, target, is_forced=bool(open_) or wanted == "always")


def _open(context: Context, target: Path, *, is_forced: bool) -> None:
    if is_forced or context.console.is_watched:
        from gpuctl.services.viewer import open_file  # noqa: PLC0415  only for a person

        open_file(target)


def _cell(grid: Grid, place: Place, record: JobRecord) -> Json:
    column, row = place
    labels = {"column": grid.columns[column], "row": grid.rows[row]}
    return {**labels, **{key: job_data(record)[key] for key in ("job", "file", "seed", "cost_usd")}}


def _show_plans(context: Context, grid: Grid, plans: list[Plan], on: str | None) -> None:
    if not context.console.is_json:
        context.console.note(
            f"a grid of {len(grid.columns)} × {len(grid.rows)}: "
            f"{', '.join(grid.columns)} by {', '.join(grid.rows) or 'one row'}; the first one:"
        )
        show_plan(context, plans[0], on)
        return
    inputs = [plan.order.input for plan in plans]
    context.console.result(
        {"columns": grid.columns, "rows": grid.rows, "inputs": inputs, "input": inputs[0]}, ""
    )
