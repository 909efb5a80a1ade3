"""From a checked order of any workload to its results: find, connect, send, watch, show."""

from __future__ import annotations

from gpuctl.commands.results import show
from gpuctl.commands.target_choice import configured_target, usable_target
from gpuctl.context import Context
from gpuctl.models import JobRecord
from gpuctl.services import destinations, jobs
from gpuctl.services.delivery import Delivered, Watch
from gpuctl.services.generating import Link, Order, Sender


def generate_and_show(
    context: Context, order: Order, *, on: str | None, detach: bool, open_: bool | None
) -> None:
    """One order from here to its results; with --dry-run only what would be sent is shown."""
    if context.is_dry_run:
        show_order(context, order, on)
        return
    show(context, generate(context, order, on=on, detach=detach), open_=open_)


def generate(context: Context, order: Order, *, on: str | None, detach: bool) -> Delivered:
    """Raises whatever finding, connecting and following the job raise; nothing that finished on
    the machine is lost by that."""
    destinations.check(order.destination)
    target = usable_target(context, order.workload, on)
    with context.job_link(target, order.workload) as link:
        link.dial(order.workload)
        return send(context, order, link, detach=detach)


def send(context: Context, order: Order, link: Link, *, detach: bool) -> Delivered:
    """Over a link that is there already, or still dialling."""
    return _sender(context).send(order, link, detach=detach)


def watch_of(context: Context, record: JobRecord, link: jobs.Link) -> Watch:
    return _sender(context).watch(record, link)


def _sender(context: Context) -> Sender:
    limit_s = context.settings.number("ssh.reconnect_limit_s")
    return Sender(context.state, context.clock, limit_s, context.console)


def show_order(context: Context, order: Order, on: str | None) -> None:
    """--dry-run: the exact job, where it would run and at what price; nothing is connected."""
    machine = configured_target(context, order.workload, on)
    rate = machine.price_usd_h if machine else None
    lines = [
        f"{name}: {value}" for name, value in order.input.items() if value not in (None, [], {})
    ]
    target = machine.name if machine else "a machine that would be deployed first"
    lines.append(f"on: {target}" + (f" at ${rate:.2f}/h" if rate is not None else ""))
    lines.append(f"into: {order.destination.folder / (order.destination.name or '')}")
    data = {
        "input": order.input,
        "machine": machine.id if machine else None,
        "price_usd_h": rate,
        "folder": str(order.destination.folder),
        "uploads": {name: str(path) for name, path in order.inputs.items()},
    }
    context.console.result(data, "\n".join(lines))
