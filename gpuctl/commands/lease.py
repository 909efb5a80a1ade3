"""When machines end: shows and moves deadlines, and ends what is past its own."""

from __future__ import annotations

from typing import Annotated

import typer

from gpuctl.commands import leasing, sessions
from gpuctl.commands.machine_choice import listed as all_listed
from gpuctl.commands.machine_choice import reconcile, the_machine
from gpuctl.commands.machines import MachineArgument
from gpuctl.commands.render import money, table
from gpuctl.context import Context
from gpuctl.errors import BudgetRefused, UsageError
from gpuctl.services import durations, killers, leases, machines, reaper_timer, reaping
from gpuctl.services.killers import Guarded
from gpuctl.services.lease_terms import LeaseWishes, terms
from gpuctl.services.leases import Terms

ACT = 9  # unknown, or still billing: act (errors.EXIT_CODES)

app = typer.Typer(help="Show and move the deadlines of machines.")


@app.command()
def show(
    ctx: typer.Context,
    machine: MachineArgument = None,
    fast: Annotated[bool, typer.Option("--fast", help="Read no killer back.")] = False,
) -> None:
    """Show when machines end and who would end them, each read back now.

    \b
    gpuctl lease show flux
    """
    context: Context = ctx.obj
    reconcile(context)
    listed = [entry.machine for entry in all_listed(context) if entry.is_ours]
    if machine:
        wanted = machines.find(sessions.of_name(context, machine), machine)
        listed = [one for one in listed if one.id == wanted.id]
    found = leasing.guarded(context, listed, is_fast=fast)
    now = context.clock.now()
    data = [{"machine": g.machine.name, **g.as_json(now)} for g in found.values()]
    shown = "\n\n".join(_shown(g, now) for g in found.values())
    context.console.result({"leases": data}, shown or "no machines; nothing has to end")


@app.command()
def extend(
    ctx: typer.Context,
    by: Annotated[
        str | None, typer.Argument(metavar="[TIME]", help="How much longer: 90s, 20m, 2h, 1d.")
    ] = None,
    machine: MachineArgument = None,
    budget: Annotated[
        float | None, typer.Option("--budget", metavar="USD", min=0.01, help="A new budget.")
    ] = None,
) -> None:
    """Let a machine live longer, and make sure that the machine knows.

    \b
    gpuctl lease extend 1h
    gpuctl lease extend 2h flux --budget 9
    """
    context: Context = ctx.obj
    if by is None and budget is None:
        raise UsageError("extend by how much?", hint="gpuctl lease extend 1h, or --budget USD")
    by_s = None if by is None else durations.parsed(by, "lease extend")
    reconcile(context)
    wanted = the_machine(context, machine)
    session = sessions.of(context, wanted)
    found = machines.refresh(session, wanted)
    if found.status != "RUNNING":
        raise UsageError(
            f"{found.name} is {found.status}: its lease begins with the next start",
            hint=f"gpuctl start {found.name}",
        )
    if context.is_dry_run:
        context.console.result({"machine": found.name}, f"would extend the lease of {found.name}")
        return
    leases.extended(session, found, _usual_terms(context), by_s, budget)
    guarded = leasing.guarded(context, [found])[found.id]
    now = context.clock.now()
    context.console.result(
        {"machine": found.name, **guarded.as_json(now)}, _shown(guarded, now), changed=True
    )
    _refuse_spent(guarded, now)


def reap(
    ctx: typer.Context,
    install: Annotated[
        bool, typer.Option("--install", help="Put in a timer that calls this, after asking.")
    ] = False,
    uninstall: Annotated[bool, typer.Option("--uninstall", help="Take the timer out.")] = False,
    print_: Annotated[
        bool, typer.Option("--print", help="Print the timer's line; change nothing.")
    ] = False,
    with_: Annotated[
        str | None, typer.Option("--with", metavar="TIMER", help="systemd, cron or launchd.")
    ] = None,
    by_timer: Annotated[bool, typer.Option("--by-timer", hidden=True)] = False,
) -> None:
    """End every machine of ours that is past its deadline; finished work comes home first.

    Exit code 9 when something could not be asked or ended.

    \b
    gpuctl reap
    gpuctl reap --install
    """
    context: Context = ctx.obj
    if install or uninstall or print_:
        _timer(context, with_, is_install=install, is_print=print_)
        return
    drain = leasing.drain_of(context)
    is_dry = context.is_dry_run
    round_ = reaping.joined(
        [reaping.reap(session, drain, is_dry_run=is_dry) for session in sessions.all_of(context)]
    )
    if by_timer and not context.is_dry_run:
        names = [v.machine.name for v in round_.verdicts if v.deed in ("ended", "stopped")]
        now = context.clock.now()
        killers.stamp(context.state_folder, at=now, is_clear=round_.is_clear, ended=names)
    context.console.result(
        {
            "machines": [_verdict_data(verdict) for verdict in round_.verdicts],
            "unknown": list(round_.unknown),
        },
        _round_text(round_),
        changed=round_.is_changed,
        ok=round_.is_clear,
    )
    if not round_.is_clear:
        raise typer.Exit(ACT)


def _timer(context: Context, kind: str | None, *, is_install: bool, is_print: bool) -> None:
    timer = leasing.timer_of(context)
    if not is_install and not is_print:
        gone = None if context.is_dry_run else reaper_timer.uninstall(timer)
        text = f"the {gone} timer is gone" if gone else "there was no timer"
        context.console.result({"removed": gone}, text, changed=gone is not None)
        return
    kind = kind or reaper_timer.kind_here()
    lines = reaper_timer.lines(timer, kind)
    if is_print or context.is_dry_run:
        context.console.result({"kind": kind, "lines": lines}, lines)
        return
    if leasing.is_key_only_here(context):
        context.console.warn(
            "the API key is in this shell's environment only, and a timer does not see it: "
            "gpuctl setup writes it to .env"
        )
    context.console.note(f"this would be put in ({kind}):\n{lines}")
    if not context.console.confirm(f"put it in, to look every {timer.minutes} min?"):
        raise UsageError("nothing was put in")
    reaper_timer.install(timer, kind)
    context.console.result(
        {"kind": kind, "lines": lines},
        f"the {kind} timer is in force; `gpuctl status` shows whether it works",
        changed=True,
    )


def _usual_terms(context: Context) -> Terms:
    """For a machine that this computer gave no lease: what is on it is not known."""
    from gpuctl.models import Need  # noqa: PLC0415  for such machines only

    nothing = Need(image="", vram_gb=0, disk_gb=0, volume_gb=0)
    return terms(context.settings, LeaseWishes(), nothing, None)


def _refuse_spent(guarded: Guarded, now: float) -> None:
    """An extension that the budget makes worthless is said, not hidden."""
    lease = guarded.lease
    if lease is not None and lease.drain_at is not None and lease.drain_at <= now:
        raise BudgetRefused(
            f"the budget of {guarded.machine.name} is spent, so it ends all the same",
            hint=f"gpuctl lease extend --budget USD {guarded.machine.name}",
        )


def _shown(guarded: Guarded, now: float) -> str:
    lease, machine = guarded.lease, guarded.machine
    lines = [f"{machine.name} is {machine.status}, {money(machine.price_usd_h, 2)}/h"]
    rows = [("lease", guarded.words(now))]
    if lease is not None and lease.is_waived:
        rows.append(("reason", str(lease.terms.reason)))
    if lease is not None and lease.spending is not None and lease.terms.budget_usd:
        spent = money(lease.spending.at(now), 2)
        rate = money(lease.spending.rate_usd_h, 3)
        rows.append(("budget", f"{spent} of {money(lease.terms.budget_usd, 2)}, {rate}/h in all"))
    if lease is not None and lease.is_binding:
        rows.append(("then", f"it is {_past(lease.terms.at_deadline)}"))
        idle_s = lease.terms.idle_stop_s
        rows.append(
            ("idle stop", "never" if idle_s is None else f"after {durations.shown(idle_s)}")
        )
    for killer in guarded.killers:
        mark = f"✗ {killer.why}" if killer.why else "✓ read back"
        rows.append((killer.name, mark + _idle_words(killer.said)))
    return "\n".join([*lines, *(f"  {name:<10}{value}" for name, value in rows)])


def _idle_words(said: dict[str, object] | None) -> str:
    """What the watchdog sees: the countdown, or what holds it off."""
    if not said or said.get("idle_stop_in_s") is None:
        return ""
    holding = said.get("holding")
    if isinstance(holding, list) and holding:
        return f"; idle stop held off by {', '.join(map(str, holding))}"
    return f"; idle stop in {durations.shown(float(str(said['idle_stop_in_s'])))}"


def _past(verb: str) -> str:
    return {"terminate": "terminated", "stop": "stopped"}[verb]


def _verdict_data(verdict: reaping.Verdict) -> dict[str, object]:
    return {
        "name": verdict.machine.name,
        "id": verdict.machine.id,
        "status": verdict.machine.status,
        "deed": verdict.deed,
        "why": verdict.why,
        "drained": list(verdict.saved),
        "error": None if verdict.error is None else verdict.error.code,
    }


def _round_text(round_: reaping.Round) -> str:
    rows = [(v.machine.name, v.machine.status, v.deed, v.why) for v in round_.verdicts]
    lines = [table(("machine", "was", "now", "why"), rows) or "no machines of ours"]
    lines += [f"could not be asked: {who}" for who in round_.unknown]
    lines += [f"brought home: {file}" for v in round_.verdicts for file in v.saved]
    return "\n".join(lines)
