"""What every command that makes pictures does: connect, watch, show."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from gpuctl.commands.render import money, seconds
from gpuctl.context import Context
from gpuctl.models import Job, JobRecord, Json, Machine
from gpuctl.services import destinations, enhancement, pictures, targets, viewer
from gpuctl.services.links import MachineLink
from gpuctl.services.pictures import Painted, Plan, Watch, Wish
from gpuctl.workloads import flux
from gpuctl.workloads.flux_models import Tables


def paint_and_show(context: Context, wish: Wish, *, open_: bool | None) -> None:
    """One `gpuctl flux`: everything that can be refused is refused before anything is started."""
    plan = pictures.plan(wish, tables(context), context.settings.path("flux.output_dir"))
    for note in plan.request.notes:
        context.console.note(note)
    if context.is_dry_run:
        show_plan(context, wish, plan)
        return
    destinations.prepare(plan.destination)
    pending = enhancement.start(context, plan.request.prompt) if wish.enhance else None
    machine = find_machine(context, wish.on)
    warn_of_licence(context, plan)
    began = context.clock.now()
    with context.link(machine) as link:
        link.shell  # dial while the prompt is being rewritten
        context.console.detail(f"connected in {seconds(context.clock.now() - began)}")
