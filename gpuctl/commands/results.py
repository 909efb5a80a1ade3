"""Shows what came home."""

from __future__ import annotations

from pathlib import Path

from gpuctl.commands.render import money, seconds
from gpuctl.context import Context
from gpuctl.models import JobRecord, Json
from gpuctl.services.delivery import Delivered
from gpuctl.services.jobs import cost_usd, kept_for
from gpuctl.workloads import WORKLOADS


def show(context: Context, delivered: Delivered, *, open_: bool | None) -> None:
    """Files on stdout, the summary on stderr; the result in a window when a person watches."""
    record = delivered.record
    data = job_data(record) | {"receipt": next(iter(delivered.receipts), None)}
    if record.status == "submitted" or not record.finished_at:
        text = f"{record.id}"
        kept = f"; its result is kept for {kept_for(record)}" if kept_for(record) else ""
        context.console.note(f"job {record.id} is running{kept}; gpuctl jobs attach {record.id}")
        context.console.result(data, text, changed=True)
        return
    context.console.note(summary(record))
    context.console.result(data, "\n".join(record.files), changed=True)
    if record.files and _should_open(context, record.workload, open_):
        from gpuctl.services.viewer import open_file  # noqa: PLC0415  only for a person

        open_file(Path(record.files[0]))


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
        "model": _model_name(record),
        "engine": metrics.get("engine"),
        "timings": {**record.context.get("times", {}), **_timings(metrics)},
        "cost_usd": cost_usd(record),
        "price_usd_h": record.price_usd_h,
        "error": record.error,
    }


def _timings(metrics: Json) -> Json:
    return {key: value for key, value in metrics.items() if key.endswith("_s")}


def _model_name(record: JobRecord) -> str | None:
    model = record.input.get("model") or record.metrics.get("model")
    return model.get("name") if isinstance(model, dict) else model


def summary(record: JobRecord) -> str:
    metrics = record.metrics
    workload = WORKLOADS[record.workload]
    parts = workload.summary(record.input, metrics, len(record.files))
    parts.append(seconds(metrics.get("elapsed_s")))
    if metrics.get("load_s"):
        parts.append(f"of which loading {seconds(metrics['load_s'])}")
    cost = cost_usd(record)
    if cost is not None:
        parts.append(money(cost))
    return " · ".join(parts)


def _should_open(context: Context, workload: str, open_: bool | None) -> bool:
    if open_ is not None:
        return open_
    asked = context.settings.text(f"{workload}.open")
    return asked == "always" or (asked == "auto" and context.console.is_watched)
