"""`gpuctl deploy WORKLOAD --serverless`: the short way to an endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from gpuctl.commands import endpoint_text as text
from gpuctl.context import Context
from gpuctl.errors import UsageError
from gpuctl.models import Endpoint
from gpuctl.services import endpoint_making, endpoint_memory, orders
from gpuctl.services.endpoint_orders import EndpointWishes


def wishes(
    gpu: Sequence[str] | None,
    min_vram: int | None,
    dc: Sequence[str] | None,
    volume: str | None,
    image: str | None,
    max_price: float | None,
    env: Sequence[str] | None,
) -> EndpointWishes:
    return EndpointWishes(
        image=image,
        min_vram_gb=min_vram,
        gpus=orders.listed(gpu or ()),
        max_price_usd_h=max_price,
        volume_ids=(volume,) if volume else (),
        data_centers=orders.listed(dc or ()),
        env=orders.environment(env or ()),
    )


def deploy(
    context: Context,
    workload: str,
    wished: EndpointWishes,
    machine_only: Sequence[object],
    *,
    replace: bool,
) -> None:
    """One that is there already is used, unless it shall be replaced."""
    if any(each is not None for each in machine_only):
        raise UsageError(
            "--cloud, --slim, --canary and the options of leases are for machines: an endpoint's "
            "workers end by themselves",
            hint="gpuctl endpoint create --help",
        )
    from gpuctl.commands.endpoint import make_and_show  # noqa: PLC0415  only with --serverless

    old = None if context.is_dry_run else _existing(context, workload)
    if old is not None and not replace:
        line = f"{old.name} is there already, {text.workers_words(old)} workers; for another: "
        context.console.result({"endpoint": asdict(old)}, f"{line}--replace")
        return
    make_and_show(context, workload, wished)
    if old is not None:
        endpoint_making.delete(context.endpoint_session(), old)
        context.console.note(f"{old.name} is deleted")


def _existing(context: Context, workload: str) -> Endpoint | None:
    session = context.endpoint_session()
    endpoint_making.reconcile(session)
    found = [each for each in endpoint_making.listed(session) if each.workload == workload]
    ours = [each for each in found if each.name.startswith("gpuctl-")]
    return endpoint_memory.named(workload, ours)
