"""What every command that ends or guards machines is made of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gpuctl.commands import sessions
from gpuctl.context import Context
from gpuctl.errors import UsageError
from gpuctl.models import Machine
from gpuctl.services import budget, durations, killers, reaper_timer, watchdogs
from gpuctl.services.draining import Drain, Drained
from gpuctl.services.killers import Guarded, Killer
from gpuctl.services.reaper_timer import Timer
from gpuctl.workloads import WORKLOADS


def drain_of(context: Context) -> Drain:
    """Brings finished work home from a machine that is about to end."""
    settings = context.settings
    return Drain(
        session=context.session(),
        link=context.link,
        workloads=tuple(WORKLOADS),
        folder=settings.path("flux.output_dir").absolute() / "drained",
        limit_s=durations.parsed(settings.text("lease.drain_limit"), "lease.drain_limit"),
        workspace=context.workspace,
    )


def timer_of(context: Context) -> Timer:
    """The timer that would call the reaper for this state, this configuration."""
    every = context.settings.text("lease.reap_every")
    return reaper_timer.timer(
        is_sim=context.is_sim,
        folder=context.project_folder,
        every_s=durations.parsed(every, "lease.reap_every"),
        environ=context.environ,
        home=Path.home(),
    )


def reaper_of(context: Context) -> Killer:
    return killers.reaper(timer_of(context), context.state_folder, context.clock.now())


def guarded(
    context: Context, machines: Sequence[Machine], *, is_fast: bool = False
) -> dict[str, Guarded]:
    """Leases and killers by machine id. `is_fast` asks no machine and no timer."""
    session = context.session()
    if is_fast or context.is_dry_run or not machines:
        return killers.guarded(session, machines, read=None, reaper=None)
    connector = context.connector()
    return killers.guarded(
        session,
        machines,
        read=lambda machine: watchdogs.ensured(
            sessions.of(context, machine), connector, machine, workspace=context.workspace
        ),
        reaper=reaper_of(context),
    )


def drained(
    context: Context, machines: Sequence[Machine], *, is_discarding: bool
) -> dict[str, Drained]:
    """What each machine gave back before its end; nothing is asked when all may be lost."""
    if is_discarding:
        return {machine.id: Drained() for machine in machines}
    drain = drain_of(context)
    return {machine.id: drain(machine) for machine in machines}


def confirm_losses(
    context: Context, machine: Machine, losses: str, confirmed: Sequence[str]
) -> None:
    """Work would be lost: --yes is not enough. Raises UsageError unless the name was typed."""
    if machine.name in confirmed or machine.id in confirmed:
        return
    console = context.console
    console.warn(f"{machine.name}: {losses}")
    flag = f"--confirm={machine.name} (or --discard)"
    question = f"to end it all the same, type its name ({machine.name}): "
    if console.word(question, flag) not in (machine.name, machine.id):
        raise UsageError("nothing was ended", hint=flag)


def refuse_above_balance(context: Context, budget_usd: float) -> None:
    """Raises BudgetRefused when the account is known to hold less. The simulator has no account."""
    if context.is_sim:
        return
    settings = context.settings
    url, timeout_s = (
        settings.text_or_none("runpod.graphql_url"),
        settings.number("runpod.timeout_s"),
    )
    held = budget.known_balance(url, context.api_key, timeout_s)
    budget.refuse_hopeless(budget_usd, rate_usd_h=0.0, boot_limit_s=0.0, balance_usd=held)


def is_key_only_here(context: Context) -> bool:
    """Whether the API key is in this shell alone: a timer would not have it."""
    origin = context.settings.value("runpod.api_key").origin
    return not context.is_sim and origin.startswith("environment")
