"""Jobs of every workload, wherever they run; and making a result again."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from gpuctl.commands import results
from gpuctl.commands.generation import generate, watch_of
from gpuctl.commands.options import DetachOption, JobArgument, NoOpenOption, OnOption, OutOption
from gpuctl.commands.render import money, seconds, table
from gpuctl.commands.results import job_data
from gpuctl.commands.target_choice import configured_target
from gpuctl.context import Context
from gpuctl.errors import GpuctlError, NotFound, UsageError
from gpuctl.models import ENDPOINT_PROVIDER, JobRecord, Machine
from gpuctl.services import endpoint_memory
from gpuctl.services.delivery import Delivered
from gpuctl.services.jobs import cost_usd
from gpuctl.workloads import WORKLOADS, whisper

app = typer.Typer(help="List, show, attach, cancel and fetch jobs.")


@app.command("list")
def list_(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option("--limit", metavar="N", help="The newest N.")] = 20,
) -> None:
    """List the newest jobs.

    \b
    gpuctl jobs list --limit 50
    """
    context: Context = ctx.obj
    records = context.state.jobs(limit=limit)
    rows = [
        (
            record.id,
            record.workload,
            record.status,
            f"{seconds(max(0.0, time.time() - record.created_at))} ago",
            money(cost_usd(record)),
            str(record.context.get("prompt", ""))[:40].replace("\n", " "),
        )
        for record in records
    ]
    text = table(("job", "workload", "status", "age", "cost", "prompt"), rows)
    context.console.result({"jobs": [job_data(r) for r in records]}, text or "no jobs yet")


@app.command()
def show(ctx: typer.Context, job: JobArgument) -> None:
    """Show one job: what was asked, where it ran, what came home."""
    context: Context = ctx.obj
    record = context.state.job(job)
    data = job_data(record)
    lines = [f"{key:<12} {_plain(value)}" for key, value in data.items() if value not in (None, [])]
    context.console.result(data | {"input": record.input}, "\n".join(lines))


@app.command()
def attach(ctx: typer.Context, job: JobArgument, open_: NoOpenOption = None) -> None:
    """Watch a job again: replay what was missed, bring home what is not here yet."""
    context: Context = ctx.obj
    results.show(context, _attached(context, context.state.job(job)), open_=open_)


@app.command()
def fetch(ctx: typer.Context, job: JobArgument, out: OutOption = None) -> None:
    """Bring a finished job's results home; one that still runs is refused.

    \b
    gpuctl jobs fetch 01JD --out pictures/
    """
    context: Context = ctx.obj
    record = context.state.job(job)
    if out is not None:
        record = _moved(record, out)
    with context.job_link(_machine_of(context, record), record.workload) as link:
        known = {row.get("id"): row for row in link.runner.jobs(record.workload)}
        there = known.get(record.id)
        if there is None:
            raise NotFound(f"the machine knows no job {record.id}", hint="gpuctl jobs list")
        if there.get("status") not in ("done", "error", "failed", "cancelled"):
            raise GpuctlError(
                f"job {record.id} is {there.get('status')}", hint=f"gpuctl jobs attach {record.id}"
            )
        delivered = watch_of(context, record, link).attach()
    results.show(context, delivered, open_=False)


@app.command()
def cancel(ctx: typer.Context, job: JobArgument) -> None:
    """Stop a job on its machine. One that has ended is left as it is."""
    context: Context = ctx.obj
    record = context.state.job(job)
    with context.job_link(_machine_of(context, record), record.workload) as link:
        was_running = link.runner.cancel(record.workload, record.id)
    text = f"{record.id} is cancelled" if was_running else f"{record.id} had already ended"
    context.console.result({"job": record.id, "cancelled": was_running}, text, changed=was_running)


def replay(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A result, or its receipt.")],
    out: OutOption = None,
    on: OnOption = None,
    detach: DetachOption = False,
    open_: NoOpenOption = None,
) -> None:
    """Make a result again from the receipt that it carries.

    \b
    gpuctl replay outputs/a-red-fox-7.png
    """
    from gpuctl.services import replaying  # noqa: PLC0415  only here

    context: Context = ctx.obj
    order = replaying.order(file, out, context.settings, context.kept_clip)
    if context.is_dry_run:
        text = f"would send the job again: {order.told.get('prompt')}"
        data = {"input": order.input, "folder": str(order.destination.folder)}
        context.console.result(data, text)
        return
    results.show(context, generate(context, order, on=on, detach=detach), open_=open_)


def _attached(context: Context, record: JobRecord) -> Delivered:
    if record.status == "fetched" and all(Path(file).exists() for file in record.files):
        return Delivered(record, ())
    with context.job_link(_machine_of(context, record), record.workload) as link:
        return watch_of(context, record, link).attach()


def _machine_of(context: Context, record: JobRecord) -> Machine:
    if record.workload == whisper.NAME:
        raise UsageError(
            "a transcription is no job of the machine's: it ended with its command",
            hint=f"gpuctl transcribe {record.input.get('source')}",
        )
    told = record.context.get("machine")
    if isinstance(told, dict) and told.get("provider") == ENDPOINT_PROVIDER:
        # Also of an endpoint that is gone: what was finished there is kept on this computer.
        return endpoint_memory.stand_in(record.machine_id, str(told.get("name")))
    machine = context.state.machine(record.machine_id) or configured_target(
        context, record.workload, record.target
    )
    if machine is None:
        raise NotFound(f"the machine of job {record.id} is not known any more: {record.target}")
    return machine


def _moved(record: JobRecord, out: str) -> JobRecord:
    from dataclasses import replace  # noqa: PLC0415  loaded already

    from gpuctl.services import destinations  # noqa: PLC0415

    moved = destinations.plan(out, Path.cwd(), tuple(WORKLOADS[record.workload].FORMATS))
    destinations.check(moved)
    context = {**record.context, "folder": str(moved.folder.absolute()), "name": moved.name}
    return replace(record, context=context, artifacts=(), files=())


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {inner}" for key, inner in value.items() if inner is not None)
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
