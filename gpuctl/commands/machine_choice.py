"""Which machine a command means, and what to do about one that is there already."""

from __future__ import annotations

from difflib import get_close_matches

from gpuctl.commands import sessions
from gpuctl.commands.render import money
from gpuctl.context import Context
from gpuctl.errors import UsageError
from gpuctl.models import Machine, Need
from gpuctl.services import ec2_ending, endpoint_making, journal, leases, machines, volumes
from gpuctl.services.machines import Listed
from gpuctl.workloads import WORKLOADS


def reconcile(context: Context) -> None:
    """What an interrupted command left is settled before anything new is begun."""
    if not context.is_dry_run:
        for session in sessions.all_of(context):
            settle = ec2_ending.settle if session.provider.name == "ec2" else journal.reconcile
            settle(session)
        leases.report_abandoned(context.session())
        volumes.reconcile(storage(context))
        endpoint_making.reconcile(context.endpoint_session())


def storage(context: Context) -> volumes.Storage:
    """The account's network volumes, with this computer's memory of them."""
    return volumes.Storage(context.account, context.state, context.clock, context.console)


def need(context: Context, workload: str) -> Need:
    """What the workload asks of a machine. Raises UsageError for one that nobody knows."""
    if workload not in WORKLOADS:
        near = get_close_matches(workload, WORKLOADS, n=1)
        raise UsageError(
            f"there is no workload '{workload}'",
            hint=f"did you mean {near[0]}?" if near else f"one of {', '.join(WORKLOADS)}",
        )
    return context.need(workload)


def listed(context: Context) -> list[Listed]:
    """What every provider lists that may have machines of ours."""
    return [entry for session in sessions.all_of(context) for entry in machines.status(session)]


def the_machine(context: Context, name: str | None) -> Machine:
    """The one that is named; else the configured pod; else the only one there is."""
    wanted = name or context.settings.text_or_none("runpod.pod_id")
    if wanted:
        return machines.find(sessions.of_name(context, wanted), wanted)
    ours = [entry.machine for entry in listed(context) if entry.is_ours]
    if len(ours) == 1:
        return ours[0]
    names = ", ".join(machine.name for machine in ours)
    raise UsageError(
        f"which machine? There are {names}" if ours else "there is no machine",
        hint="give its name" if ours else "gpuctl deploy",
    )


def use_existing(context: Context, existing: Machine, *, replace: bool) -> bool:
    """Whether the machine that is there already is used. Nobody to ask: it is.

    Raises UsageError when the answer is to do nothing.
    """
    console = context.console
    described = f"{existing.name} is {existing.status}, {money(existing.price_usd_h, 2)}/h"
    if replace:
        if not console.confirm(f"{described}. Terminate it, with its volume, for a new one?"):
            raise UsageError("nothing was changed")
        return False
    if not console.can_ask or console.options.yes:
        console.note(f"{described}; it is used. For another: --replace")
        return True
    choices = {"u": "use it", "r": "replace it (its volume is lost)", "c": "cancel"}
    answer = console.choose(f"{described}.", choices, flag="--replace")
    if answer == "c":
        raise UsageError("nothing was changed")
    return answer == "u"
