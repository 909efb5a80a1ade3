"""Shows machines: what they do, what they cost and when they end; once, or until Ctrl-C."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Annotated

import typer

from gpuctl.commands import sessions
from gpuctl.commands import status_text as text
from gpuctl.commands.leasing import guarded
from gpuctl.commands.machine_choice import listed as all_listed
from gpuctl.commands.machine_choice import reconcile
from gpuctl.commands.status_text import Look
from gpuctl.context import Context
from gpuctl.errors import ApiError
from gpuctl.models import Machine
from gpuctl.services import machines, spans
from gpuctl.services.killers import Guarded
from gpuctl.services.machines import Listed

# Killers are read over ssh: oftener than so would be a login every few seconds.
KILLERS_EVERY_S = 60.0
LONGEST_PAUSE_S = 300.0


def status(
    ctx: typer.Context,
    machine: Annotated[
        str | None,
        typer.Argument(metavar="[MACHINE]", help="Name, id, the end of a name, or a workload."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on until Ctrl-C.")] = False,
    every: Annotated[
        float, typer.Option("--every", metavar="SECONDS", min=0.2, help="How often it looks.")
    ] = 5.0,
    fast: Annotated[bool, typer.Option("--fast", help="Read no killer of a lease back.")] = False,
) -> None:
    """Show every machine of the account, what it does and costs, as the provider sees it now.

    USE/MEM is how busy the GPU is and how full its memory. SO FAR is since it was made, storage
    included. LEASE is the time until it ends, and how many of its killers were read back just now:
    the watchdog on the machine, and the reaper of this computer.

    \b
    gpuctl status
    gpuctl status flux --watch
    """
    context: Context = ctx.obj
    reconcile(context)
    found = machines.find(sessions.of_name(context, machine), machine) if machine else None
    if watch:
        _watch(context, _Watch(found, every, fast))
        return
    look = _look(context, found, guards=None if not fast else {})
    if found:
        one = look.listed[0].machine
        context.console.result({"machine": text.one_data(look, one)}, text.one_text(look, one))
        return
    context.console.result(text.look_data(look), text.look_text(look))


@dataclass(slots=True)
class _Watch:
    """What is watched, and what was seen last: guards by machine id, and lines by machine id."""

    machine: Machine | None
    every_s: float
    is_fast: bool
    guards: Mapping[str, Guarded] = field(default_factory=dict)
    guards_at: float | None = None
    seen: Mapping[str, tuple[object, ...]] = field(default_factory=dict)
    data: Mapping[str, object] = field(default_factory=dict)


def _look(context: Context, only: Machine | None, *, guards: Mapping[str, Guarded] | None) -> Look:
    """`guards` None reads every killer back; else those are taken for still true."""
    session = context.session()
    if only:
        listed = [Listed(machines.refresh(sessions.of(context, only), only), is_ours=True)]
    else:
        listed = all_listed(context)
    ours = [entry.machine for entry in listed if entry.is_ours]
    held = guarded(context, ours, is_fast=guards is not None)
    for machine_id in held.keys() & (guards or {}).keys():
        killers = guards[machine_id].killers if guards else ()
        held[machine_id] = replace(held[machine_id], killers=killers)
    now = context.clock.now()
    rates = {machine.id: machine.price_usd_h for machine in ours}
    journal = session.state.journal()
    return Look(
        listed=listed,
        held=held,
        usd=spans.usd_so_far(journal, rates, now),
        stopped_usd_h=spans.stopped_usd_h(journal),
        now=now,
        unresolved=[asdict(intent) for intent in session.state.unresolved()],
    )


def _watch(context: Context, watch: _Watch) -> None:
    """Ctrl-C is its usual end. An answer that failed in passing is told, and asked for again."""
    try:
        while True:
            try:
                _show(context, watch, _next(context, watch))
            except ApiError as error:
                context.console.warn(error.message)
            pause_s = max(watch.every_s, context.account().api.http.pace_s)
            context.clock.sleep(min(LONGEST_PAUSE_S, pause_s))
    except KeyboardInterrupt:
        context.console.result({**watch.data, "ended": "interrupted"})


def _next(context: Context, watch: _Watch) -> Look:
    now = context.clock.now()
    is_due = watch.guards_at is None or now - watch.guards_at >= KILLERS_EVERY_S
    wants_killers = is_due and not watch.is_fast
    look = _look(context, watch.machine, guards=None if wants_killers else watch.guards)
    watch.guards = look.held
    watch.guards_at = now if wants_killers else watch.guards_at
    return look


def _show(context: Context, watch: _Watch, look: Look) -> None:
    """In place for a person, a line per change for a pipe, a document per look for a script."""
    console = context.console
    watch.data = text.look_data(look)
    console.emit({"at": round(look.now, 3), **watch.data})
    if console.is_watched:
        one = watch.machine and text.one_text(look, look.listed[0].machine)
        console.redraw(one or text.look_text(look))
        return
    seen = {entry.machine.id: _state(entry.machine) for entry in look.listed}
    stamp = f"{datetime.fromtimestamp(look.now, UTC):%H:%M:%SZ}"
    for entry in look.listed:
        if watch.seen.get(entry.machine.id) != seen[entry.machine.id] and not console.is_json:
            console.result({}, f"{stamp}  {text.change_line(look, entry)}")
    for gone in () if console.is_json else watch.seen.keys() - seen.keys():
        console.result({}, f"{stamp}  {gone} is no longer listed")
    watch.seen = seen


def _state(machine: Machine) -> tuple[object, ...]:
    """What counts as a change: neither the cents nor the seconds."""
    return (machine.status, text.use(machine), machine.price_usd_h, machine.address)
