"""Paints: connects, and sends the order as the encoders will read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuctl.commands import enhancing
from gpuctl.commands.generation import send
from gpuctl.context import Context
from gpuctl.services.delivery import Delivered
from gpuctl.services.generating import Order
from gpuctl.services.pictures import Plan, Wish, read_by_encoders
from gpuctl.workloads import flux

if TYPE_CHECKING:
    from gpuctl.services.enhancement import Pending
    from gpuctl.services.links import MachineLink
    from gpuctl.services.queue_link import QueueLink
    from gpuctl.services.service_link import ServiceLink


def paint(
    context: Context,
    wish: Wish,
    order: Plan,
    link: MachineLink | QueueLink | ServiceLink,
    pending: Pending | None,
    began: float,
) -> Delivered:
    """Sends the order over `link`, which may still be dialling, and brings the pictures home."""
    if pending is not None:
        # A machine that cannot be reached is said before Claude is waited for.
        link.open()
    waited = context.clock.now()
    prompts = enhancing.read(context, order.request.prompt, pending)
    enhanced = context.clock.now()
    request, meter = read_by_encoders(order.request, str(prompts["read"]))
    if meter.clip_dropped:
        context.console.note(f"{meter.line()}: CLIP will not see “{meter.clip_dropped}”")
    else:
        context.console.detail(meter.line())
    link.open()
    times = {
        "connect_s": round((waited if pending else context.clock.now()) - began, 3),
        "enhance_s": round(enhanced - waited, 3) if pending else 0.0,
    }
    prompts |= {"clip_tokens": meter.clip_tokens, "times": times}
    told = {"prompt": prompts.pop("user"), **prompts}
    sent = Order(flux.NAME, request.to_input(), order.destination, order.inputs, told)
    return send(context, sent, link, detach=wish.detach)
