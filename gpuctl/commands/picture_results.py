"""Shows what was painted, and what would be."""

from __future__ import annotations

from pathlib import Path

from gpuctl.commands.render import money, seconds
from gpuctl.context import Context
from gpuctl.models import JobRecord, Json, Machine
from gpuctl.services.jobs import cost_usd
from gpuctl.services.pictures import Painted, Plan, Wish, read_by_encoders


def show_painted(context: Context, painted: Painted, *, open_: bool | None) -> None:
    """Files on stdout, the summary on stderr; the picture in a window when a person watches."""
    record = painted.record
    data = job_data(record) | {"receipt": next(iter(painted.receipts), None)}
    if record.status == "submitted" or not record.finished_at:
        text = f"{record.id}"
        context.console.note(f"job {record.id} is running; gpuctl jobs attach {record.id}")
        context.console.result(data, text, changed=True)
        return
    context.console.note(summary(record))
    context.console.result(data, "\n".join(record.files), changed=True)
    if record.files and _should_open(context, open_):
        from gpuctl.services.viewer import open_picture  # noqa: PLC0415  only for a person

        open_picture(Path(record.files[0]))


def job_data(record: JobRecord) -> Json:
    """A job as scripts see it."""
    metrics = record.metrics
    return {
        "job": record.id,
        "workload": record.workload,
        "status": record.status,
        "file": record.files[0] if record.files else None,
        "files": list(record.files),
        "machine": record.context.get("machine"),
        "target": record.target,
        "prompt": record.context.get("prompt"),
        "enhanced": record.context.get("enhanced"),
        "seed": record.input.get("seed"),
        "model": (record.input.get("model") or {}).get("name"),
        "engine": metrics.get("engine"),
        "timings": {**record.context.get("times", {}), **_timings(metrics)},
        "cost_usd": cost_usd(record),
        "price_usd_h": record.price_usd_h,
        "error": record.error,
    }


def _timings(metrics: Json) -> Json:
    return {key: value for key, value in metrics.items() if key.endswith("_s")}


def summary(record: JobRecord) -> str:
    metrics, order = record.metrics, record.input
    count = len(record.files)
    parts = [
        f"{count} picture{'s' if count != 1 else ''} {order.get('width')}×{order.get('height')}",
        f"{order.get('steps')} steps on {(order.get('model') or {}).get('title')}",
        f"seed {order.get('seed')}",
        seconds(metrics.get("elapsed_s")),
    ]
    if metrics.get("load_s"):
        parts.append(f"of which loading {seconds(metrics['load_s'])}")
    cost = cost_usd(record)
    if cost is not None:
        parts.append(money(cost))
    return " · ".join(parts)


def show_plan(context: Context, wish: Wish, order: Plan, machine: Machine | None) -> None:
    """--dry-run: the plan, the price and the exact job; nothing is connected, asked or changed."""
    request, meter = read_by_encoders(order.request, order.request.prompt)
    target = machine.name if machine else "a machine that would be deployed first"
    rate = machine.price_usd_h if machine else None
    lines = [
        f"{request.model.title}, {request.width}×{request.height}, {request.steps} steps, "
        f"guidance {request.guidance:g}, seed {request.seed}, {request.count} × {request.format}",
        f"prompt: {meter.line()}"
        + (f"; CLIP will not see “{meter.clip_dropped}”" if meter.clip_dropped else ""),
        f"machine: {target}" + (f" at ${rate:.2f}/h" if rate is not None else ""),
        f"into: {order.destination.folder / (order.destination.name or '')}",
    ]
    if wish.enhance:
        lines.append("Claude would rewrite the prompt first")
    if request.model.gated:
        lines.append(f"licence: {request.model.licence}, to be accepted at {_url(order)}")
    data = {
        "input": request.to_input(),
        "machine": machine.id if machine else None,
        "price_usd_h": rate,
        "folder": str(order.destination.folder),
        "uploads": {name: str(path) for name, path in order.inputs.items()},
        "meter": {
            "clip_tokens": meter.clip_tokens,
            "clip_limit": meter.clip_limit,
            "clip_dropped": meter.clip_dropped,
            "text_tokens_estimate": meter.text_tokens_estimate,
            "text_limit": meter.text_limit,
        },
    }
    context.console.result(data, "\n".join(lines))


def _url(order: Plan) -> str:
    return order.request.model.licence_url


def _should_open(context: Context, open_: bool | None) -> bool:
    if open_ is not None:
        return open_
    asked = context.settings.text("flux.open")
    return asked == "always" or (asked == "auto" and context.console.is_watched)
