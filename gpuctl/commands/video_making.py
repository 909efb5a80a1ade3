"""Makes what `gpuctl video` was asked for: one piece, or a chain of them over one connection."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from gpuctl.commands import enhancing
from gpuctl.commands.generation import show_order
from gpuctl.commands.results import show
from gpuctl.commands.target_choice import usable_target
from gpuctl.context import Context
from gpuctl.errors import UsageError
from gpuctl.models import Json
from gpuctl.services import destinations, video_history, video_joining, video_orders
from gpuctl.services.delivery import Delivered
from gpuctl.services.destinations import Destination
from gpuctl.services.generating import Order, Sender
from gpuctl.services.video_orders import Asked, Plan
from gpuctl.workloads import video

if TYPE_CHECKING:
    from gpuctl.services.enhancement import Pending
    from gpuctl.services.generating import Link


@dataclass(frozen=True, slots=True)
class Delivery:
    """Where it runs, where the film lands, and what happens then. `is_explicit`: --enhance was
    typed, so that a missing key is an error."""

    out: str | None
    on: str | None
    detach: bool
    open_: bool | None
    enhance: bool = False
    is_explicit: bool = False


def make(context: Context, asked: Asked, delivery: Delivery) -> None:
    """Everything that can be refused is refused before anything is started."""
    destination = video_orders.destination(delivery.out, context.settings)
    plan = video_orders.plan(asked, destination, context.settings)
    for note in plan.notes:
        context.console.note(note)
    if plan.chain > 1:
        if delivery.detach:
            raise UsageError("--chain needs each piece before the next", hint="leave --detach out")
        video_joining.check_program()
    if context.is_dry_run:
        show_order(context, plan.order(), delivery.on)
        return
    destinations.check(destination)
    pending = _rewriting(context, plan, delivery)
    try:
        target = usable_target(context, video.NAME, delivery.on)
        with context.job_link(target, video.NAME) as link:
            link.dial(video.NAME)
            prompt = str(enhancing.read(context, plan.wishes.prompt, pending)["read"])
            delivered = _made(context, plan, link, prompt, detach=delivery.detach)
    finally:
        if pending is not None:
            pending.cancel()
    show(context, delivered, open_=delivery.open_)


def _made(context: Context, plan: Plan, link: Link, prompt: str, *, detach: bool) -> Delivered:
    if plan.chain > 1:
        return _chained(context, plan, link, prompt)
    return _sent(context, plan.order(prompt), link, detach=detach)


def _sent(context: Context, order: Order, link: Link, *, detach: bool = False) -> Delivered:
    """One job, with its end told as far as earlier ones let it be known."""
    expected = video_history.expected_s(
        context.state, link.machine.gpu, order.input.get("preset"), order.input
    )
    if expected:
        context.console.note(f"such a film took about {video_history.words(expected)}")
    report = video_history.WithEta(context.console, expected)
    limit_s = context.settings.number("ssh.reconnect_limit_s")
    sender = Sender(context.state, context.clock, limit_s, report)
    delivered = sender.send(order, link, detach=detach)
    video_history.remember(context.state, delivered.record)
    return delivered


def _chained(context: Context, plan: Plan, link: Link, prompt: str) -> Delivered:
    """Each piece begins with the last frame of the one before; the end image is the last one's.

    A piece that fails leaves the ones before it where they are.
    """
    with tempfile.TemporaryDirectory(prefix="gpuctl-chain-") as folder:
        image, pieces = plan.image, list[Delivered]()
        # Pieces get names of their own; the one that was asked for is the whole film's.
        apart = replace(plan, destination=Destination(plan.destination.folder))
        for part in range(1, plan.chain + 1):
            context.console.note(f"piece {part} of {plan.chain}")
            end = plan.end if part == plan.chain else None
            order = video_orders.piece(apart, image, end, part, prompt=prompt)
            pieces.append(_sent(context, order, link))
            image = Path(folder) / f"{part}.png"
            if part < plan.chain:
                video_joining.last_frame(Path(pieces[-1].record.files[0]), image)
    return _joined(context, plan, pieces)


def _joined(context: Context, plan: Plan, pieces: list[Delivered]) -> Delivered:
    from gpuctl.services import receipts  # noqa: PLC0415  only for a chain

    context.console.step("joining the pieces")
    films = [Path(piece.record.files[0]) for piece in pieces]
    record = pieces[-1].record
    told = {name: value for name, value in record.context.items() if name != "part"}
    stem, suffix = video.file_name(record.input, told, {"name": films[0].name})
    target = plan.destination.path(stem, suffix).absolute()
    video_joining.joined(films, target)
    receipt: Json = {
        **pieces[-1].receipts[0],
        "details": {
            **(pieces[-1].receipts[0].get("details") or {}),
            "pieces": [{"file": film.name, "job": piece.record.id}
                       for film, piece in zip(films, pieces, strict=True)],
        },
    }  # fmt: skip
    receipts.write(target, receipt)
    whole = replace(record, files=(str(target), *map(str, films)), metrics=_summed(pieces))
    return Delivered(whole, (receipt, *(piece.receipts[0] for piece in pieces)))


def _summed(pieces: list[Delivered]) -> Json:
    """The last piece's metrics with the length and the times of all; a shared frame counts once."""
    rows = [piece.record.metrics for piece in pieces]
    total = dict(rows[-1])
    for name in ("elapsed_s", "inference_s", "load_s", "transfer_s", "total_s"):
        total[name] = round(sum(float(row.get(name) or 0) for row in rows), 3)
    total["frames"] = sum(int(row.get("frames") or 0) for row in rows) - len(rows) + 1
    return total


def _rewriting(context: Context, plan: Plan, delivery: Delivery) -> Pending | None:
    if not delivery.enhance or not plan.wishes.prompt:
        return None
    return enhancing.started(context, plan.wishes.prompt, is_explicit=delivery.is_explicit)
