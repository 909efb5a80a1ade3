"""What an endpoint's queue and workers do: look, read, empty, try again, run here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gpuctl.commands import endpoint_text as text
from gpuctl.commands.endpoint_options import EndpointArgument
from gpuctl.commands.options import JobArgument
from gpuctl.context import Context
from gpuctl.errors import PassedThrough, UsageError
from gpuctl.models import Endpoint
from gpuctl.services import endpoint_dev, endpoint_making
from gpuctl.services.endpoint_diagnosis import diagnose
from gpuctl.services.endpoint_memory import as_machine, by_id


def register(app: typer.Typer) -> None:
    """Adds these commands to the group of endpoints."""
    for command in (workers, releases, logs, health, purge, retry, dev):
        app.command(command.__name__)(command)


def workers(ctx: typer.Context, endpoint: EndpointArgument) -> None:
    """List the workers now, and say why jobs wait if they do."""
    context: Context = ctx.obj
    found = _found(context, endpoint)
    answer = context.endpoints().workers(found.id)
    why = diagnose(found, answer)
    data = {**answer, "diagnosis": {"cause": why.cause, "message": why.message, "hint": why.hint}}
    context.console.result(data, text.workers_text(answer, why))


def releases(ctx: typer.Context, endpoint: EndpointArgument) -> None:
    """List the versions of an endpoint and how many workers have the latest."""
    context: Context = ctx.obj
    answer = context.endpoints().releases(_found(context, endpoint).id)
    rows = [
        {**each, "diff": [_hidden(diff) for diff in each.get("diff") or ()]}
        for each in answer.get("releases", ())
    ]
    context.console.result({**answer, "releases": rows}, text.releases_text(answer))


def logs(
    ctx: typer.Context,
    endpoint: EndpointArgument,
    worker: Annotated[
        str | None, typer.Option("--worker", metavar="ID", help="One worker; else the newest.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    tail: Annotated[
        int, typer.Option("--tail", "-n", metavar="N", min=0, max=5000, help="The last N lines.")
    ] = 100,
) -> None:
    """Show what a worker's system and container say. Why it crashes stands here."""
    context: Context = ctx.obj
    found = _found(context, endpoint)
    chosen = worker or _newest_worker(context, found)
    lines, count = context.endpoints().logs(found.id, chosen, tail=tail, follow=follow), 0
    try:
        for line in lines:
            count += 1
            context.console.emit({"ts": line.ts, "source": line.source, "text": line.text})
            if not context.console.is_json:
                context.console.result({}, f"{line.ts}  {line.source:<9}  {line.text}")
    except KeyboardInterrupt:
        context.console.result({"worker": chosen, "ended": "interrupted"}, ok=False)
        raise PassedThrough(130) from None
    context.console.result({"worker": chosen, "lines": count})


def health(ctx: typer.Context, endpoint: EndpointArgument) -> None:
    """Show how many jobs and workers are in which state."""
    context: Context = ctx.obj
    with context.queue_link(as_machine(_found(context, endpoint))) as link:
        answer = link.runner.jobs_api.health()
    context.console.result(answer, text.health_text(answer))


def purge(ctx: typer.Context, endpoint: EndpointArgument) -> None:
    """Remove what waits in the queue; what runs goes on."""
    context: Context = ctx.obj
    found = _found(context, endpoint)
    if context.is_dry_run:
        context.console.result({"endpoint": found.id}, f"would empty the queue of {found.name}")
        return
    if not context.console.confirm(f"remove every job that waits in {found.name}?"):
        raise UsageError("nothing was removed")
    with context.queue_link(as_machine(found)) as link:
        removed = link.runner.jobs_api.purge()
    context.console.result({"removed": removed}, f"{removed} jobs removed", changed=removed > 0)


def retry(ctx: typer.Context, job: JobArgument) -> None:
    """Let a job that failed or took too long run again, under the same id."""
    context: Context = ctx.obj
    record = context.state.job(job)
    endpoint = by_id(context.state, record.machine_id)
    if endpoint is None:
        reason = f"job {record.id} was not queued at an endpoint"
        raise UsageError(reason, hint="gpuctl replay FILE")
    with context.queue_link(as_machine(endpoint)) as link:
        link.runner.retry(record.id)
    line = f"{record.id} runs again: gpuctl jobs attach {record.id}"
    context.console.result({"job": record.id, "endpoint": endpoint.id}, line, changed=True)


def dev(
    ctx: typer.Context,
    workload: Annotated[str, typer.Argument(help="Whose handler is tried.")],
    port: Annotated[int, typer.Option("--port", metavar="N", help="On 127.0.0.1.")] = 8000,
    input_: Annotated[
        Path | None,
        typer.Option("--input", metavar="FILE", help="One job's input as JSON; run it and end."),
    ] = None,
) -> None:
    """Run a workload's handler on this computer under RunPod's own worker SDK.

    With --sim its model is stood in for.

    \b
    gpuctl --sim endpoint dev flux --input job.json
    """
    context: Context = ctx.obj
    trial = endpoint_dev.Trial(
        workload=workload,
        port=port,
        workspace=context.state_folder / "dev",
        is_sim=context.is_sim,
        is_quiet=context.console.is_json,
    )
    if context.is_dry_run:
        context.console.result({"argv": trial.argv()}, " ".join(trial.argv()))
        return
    if input_ is not None:
        answer = endpoint_dev.run_once(trial, input_)
        context.console.result(answer, endpoint_dev.shown(answer))
        return
    url = f"http://127.0.0.1:{port}"
    context.console.note(f"{workload} answers at {url}/runsync; Ctrl-C ends it")
    code = endpoint_dev.serve(trial)
    context.console.result({"url": url, "exit_code": code}, ok=code == 0)


def _found(context: Context, name: str) -> Endpoint:
    return endpoint_making.find(context.endpoint_session(), name)


def _newest_worker(context: Context, endpoint: Endpoint) -> str:
    """One that crashes is what somebody wants to read; else the one that started last."""
    rows = context.endpoints().workers(endpoint.id).get("workers", [])
    if not rows:
        raise UsageError(
            f"{endpoint.name} has no workers now, and so no log",
            hint="workers come with the first job, or: gpuctl endpoint update … --min-workers 1",
        )
    sick = [each for each in rows if each.get("status") == "UNHEALTHY"]
    newest = max(sick or rows, key=lambda each: str(each.get("startedAt") or ""))
    return str(newest["id"])


def _hidden(diff: dict[str, object]) -> dict[str, object]:
    """An environment may hold secrets: only that it changed is told."""
    return {"field": "env"} if diff.get("field") == "env" else diff
