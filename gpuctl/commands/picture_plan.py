"""Shows what would be painted."""

from __future__ import annotations

from gpuctl.context import Context
from gpuctl.models import Machine
from gpuctl.services.pictures import Plan, Wish, read_by_encoders


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
