"""Serverless endpoints: made, listed, changed, paused, deleted."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from gpuctl.commands import endpoint_choice, endpoint_queue
from gpuctl.commands import endpoint_options as options
from gpuctl.commands import endpoint_text as text
from gpuctl.commands.machine_choice import need
from gpuctl.context import Context
from gpuctl.errors import UsageError
from gpuctl.services import endpoint_changes, endpoint_making, orders
from gpuctl.services.endpoint_orders import EndpointPlan, EndpointWishes
from gpuctl.workloads import WORKLOADS

app = typer.Typer(help="Serverless endpoints: make, change, look into, pause and delete them.")
TEMPLATE_NOTE = (
    "RunPod copies a template into the endpoint once: later changes of the template do not reach "
    "it; apply it again with gpuctl endpoint update ENDPOINT --template ID"
)


@app.command()
def create(
    ctx: typer.Context,
    workload: Annotated[str, typer.Argument(help="What its workers run.")],
    gpu: options.GpuOption = None,
    min_vram: options.VramOption = None,
    max_price: options.PriceOption = None,
    image: options.ImageOption = None,
    min_workers: options.LeastOption = None,
    max_workers: options.MostOption = None,
    idle_timeout: options.IdleOption = None,
    timeout: options.TimeoutOption = None,
    scaling: options.ScalingOption = None,
    flashboot: options.FlashbootOption = None,
    volume: options.VolumeOption = None,
    dc: options.DcOption = None,
    template: options.TemplateOption = None,
    env: options.EnvOption = None,
) -> None:
    """Make an endpoint for a workload. Without workers that always run it costs nothing idle.

    \b
    gpuctl endpoint create flux --max-price 1.20 --max-workers 4
    gpuctl endpoint create flux --dry-run
    """
    wishes = EndpointWishes(
        image=image,
        min_vram_gb=min_vram,
        gpus=orders.listed(gpu or ()),
        max_price_usd_h=max_price,
        workers_min=min_workers,
        workers_max=max_workers,
        idle_timeout=idle_timeout,
        timeout=timeout,
        scaling=scaling,
        flashboot=flashboot,
        volume_ids=orders.listed(volume or ()),
        data_centers=orders.listed(dc or ()),
        template_id=template,
        env=orders.environment(env or ()),
    )
    make_and_show(ctx.obj, workload, wishes)


def make_and_show(context: Context, workload: str, wishes: EndpointWishes) -> None:
    """Also what `deploy --serverless` does."""
    plan = endpoint_choice.plan(context, workload, wishes)
    if context.is_dry_run:
        _show_plan(context, plan)
        return
    context.console.note(f"an endpoint for {workload}:\n{text.plan_text(plan)}")
    if wishes.template_id:
        context.console.note(TEMPLATE_NOTE)
    made = endpoint_choice.make(context, plan)
    use = f"use it: gpuctl {WORKLOADS[workload].COMMAND} … --on {made.id}"
    line = f"{made.name} is {made.id}; {text.always_on(made)}\n{use}"
    context.console.result({"endpoint": asdict(made)}, line, changed=True)


@app.command("list")
def list_(ctx: typer.Context) -> None:
    """List the account's endpoints and what each costs while nothing waits."""
    context: Context = ctx.obj
    session = context.endpoint_session()
    if not context.is_dry_run:
        endpoint_making.reconcile(session)
    found = endpoint_making.listed(session)
    data = {"endpoints": [asdict(each) for each in found]}
    context.console.result(data, text.endpoints_text(found))


@app.command()
def show(ctx: typer.Context, endpoint: options.EndpointArgument) -> None:
    """Show one endpoint: cards, workers, limits, volumes, prices."""
    context: Context = ctx.obj
    found = endpoint_making.find(context.endpoint_session(), endpoint)
    context.console.result({"endpoint": asdict(found)}, text.endpoint_text(found))


@app.command()
def update(
    ctx: typer.Context,
    endpoint: options.EndpointArgument,
    gpu: options.GpuOption = None,
    min_vram: options.VramOption = None,
    max_price: options.PriceOption = None,
    image: options.ImageOption = None,
    min_workers: options.LeastOption = None,
    max_workers: options.MostOption = None,
    idle_timeout: options.IdleOption = None,
    timeout: options.TimeoutOption = None,
    scaling: options.ScalingOption = None,
    flashboot: options.FlashbootOption = None,
    volume: options.VolumeOption = None,
    dc: options.DcOption = None,
    template: options.TemplateOption = None,
    env: options.EnvOption = None,
    secrets: Annotated[
        bool, typer.Option("--secrets", help="Send the bucket's and Hugging Face's keys again.")
    ] = False,
) -> None:
    """Change an endpoint; what is not named stays. A new image replaces its workers one by one.

    \b
    gpuctl endpoint update flux-7dyd0z --max-workers 5 --timeout 30m
    """
    wishes = EndpointWishes(
        image=image,
        min_vram_gb=min_vram,
        gpus=orders.listed(gpu or ()),
        max_price_usd_h=max_price,
        workers_min=min_workers,
        workers_max=max_workers,
        idle_timeout=idle_timeout,
        timeout=timeout,
        scaling=scaling,
        flashboot=flashboot,
        volume_ids=orders.listed(volume or ()),
        data_centers=orders.listed(dc or ()),
        template_id=template,
        env=orders.environment(env or ()),
    )
    _update(ctx.obj, endpoint, wishes, with_secrets=secrets)


@app.command()
def delete(ctx: typer.Context, endpoint: options.EndpointArgument) -> None:
    """Delete an endpoint and what waits in its queue, and read back that it is gone."""
    context: Context = ctx.obj
    session = context.endpoint_session()
    found = endpoint_making.find(session, endpoint)
    if context.is_dry_run:
        context.console.result({"endpoint": asdict(found)}, f"would delete {found.name}")
        return
    if not context.console.confirm(f"delete {found.name} and the jobs that wait in it?"):
        raise UsageError("nothing was deleted")
    endpoint_making.delete(session, found)
    line = f"{found.name} is deleted: a later list no longer has it"
    context.console.result({"deleted": found.id}, line, changed=True)


@app.command()
def pause(ctx: typer.Context, endpoint: options.EndpointArgument) -> None:
    """No workers from now on: nothing bills, jobs wait. The limit is kept for resume."""
    context: Context = ctx.obj
    session = context.endpoint_session()
    found = endpoint_making.find(session, endpoint)
    if context.is_dry_run:
        context.console.result({"endpoint": asdict(found)}, f"would pause {found.name}")
        return
    paused = endpoint_changes.pause(session, found)
    line = f"{paused.name} is paused; it had up to {paused.paused_max or '?'} workers"
    is_changed = found.workers_max > 0
    context.console.result({"endpoint": asdict(paused)}, line, changed=is_changed)


@app.command()
def resume(ctx: typer.Context, endpoint: options.EndpointArgument) -> None:
    """Let a paused endpoint have its workers again; none that always run."""
    context: Context = ctx.obj
    session = context.endpoint_session()
    found = endpoint_making.find(session, endpoint)
    default_max = context.settings.integer("endpoint.workers_max")
    if context.is_dry_run:
        context.console.result({"endpoint": asdict(found)}, f"would resume {found.name}")
        return
    resumed = endpoint_changes.resume(session, found, default_max)
    line = f"{resumed.name} may have up to {resumed.workers_max} workers"
    is_changed = found.workers_max == 0
    context.console.result({"endpoint": asdict(resumed)}, line, changed=is_changed)


def _update(context: Context, name: str, wishes: EndpointWishes, *, with_secrets: bool) -> None:
    session = context.endpoint_session()
    found = endpoint_making.find(session, name)
    secrets = endpoint_choice.secrets(context) if with_secrets else {}
    wishes = endpoint_choice.with_bucket(context, wishes) if with_secrets else wishes
    workload = found.workload
    wanted = need(context, workload) if workload is not None and workload in WORKLOADS else None
    patch = endpoint_changes.body(
        session, context.settings, found, wanted, wishes, with_env=with_secrets
    )
    named = sorted(patch)
    if context.is_dry_run:
        context.console.result({"changes": named}, f"would change {', '.join(named)}")
        return
    if wishes.template_id:
        context.console.note(TEMPLATE_NOTE)
    changed = endpoint_changes.update(session, found, patch, secrets)
    line = f"{changed.name}: changed {', '.join(named)}; {text.always_on(changed)}"
    context.console.result({"endpoint": asdict(changed), "changes": named}, line, changed=True)


def _show_plan(context: Context, plan: EndpointPlan) -> None:
    body = text.shown_body(context.endpoints().body(plan.order), plan)
    data = {
        "body": body,
        "cards": [asdict(card) for card in plan.choice.cards],
        "excluded": list(plan.choice.excluded),
        "always_on_usd_h": plan.order.workers_min * plan.choice.dearest_usd_h,
    }
    shown = json.dumps(body, indent=2, ensure_ascii=False)
    words = f"would make an endpoint for {plan.order.workload}:\n{text.plan_text(plan)}"
    context.console.result(data, f"{words}\nPOST /v2/serverless {shown}")


endpoint_queue.register(app)
