"""Stops and terminates machines; what they have finished comes home first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from gpuctl.commands import machine_text as text
from gpuctl.commands import sessions
from gpuctl.commands.leasing import confirm_losses, drained
from gpuctl.commands.machine_choice import reconcile, the_machine
from gpuctl.commands.machines import MachineArgument, MachinesArgument
from gpuctl.context import Context
from gpuctl.errors import NotFound, UsageError
from gpuctl.models import Machine
from gpuctl.services import machines
from gpuctl.services.draining import Drained

DiscardOption = Annotated[
    bool, typer.Option("--discard", help="Do not bring finished work home; lose it.")
]


def stop(
    ctx: typer.Context,
    machine: MachineArgument = None,
    discard: DiscardOption = False,
    unlock: Annotated[
        bool, typer.Option("--unlock", help="Lift the pod's lock first; locked, it is not stopped.")
    ] = False,
) -> None:
    """Stop a machine: its GPU is given back, its volume stays and stays billed.

    Finished work that is not here yet comes home first. Its lease rests until the next start.

    \b
    gpuctl stop flux
    """
    context: Context = ctx.obj
    reconcile(context)
    found = the_machine(context, machine)
    session = sessions.of(context, found)
    if context.is_dry_run:
        context.console.result({"machine": text.machine_data(found)}, f"would stop {found.name}")
        return
    was = machines.refresh(session, found)
    given = drained(context, [was], is_discarding=discard)[was.id]
    if given.losses:
        context.console.warn(f"{was.name}: {given.losses}; its volume keeps what is on it")
    if unlock:
        context.account().unlock(was.id)
    stopped = machines.stop(session, was)
    context.console.result(
        {"machine": text.machine_data(stopped), "drained": list(given.saved)},
        f"{_came_home(given.saved)}{stopped.name} is {stopped.status}; its volume is still billed",
        changed=was.status != stopped.status,
    )


def terminate(
    ctx: typer.Context,
    machine: MachinesArgument,
    discard: DiscardOption = False,
    confirm: Annotated[
        list[str] | None,
        typer.Option("--confirm", metavar="NAME", help="End it although work would be lost."),
    ] = None,
) -> None:
    """End machines for good. What is on their own volumes is lost; network volumes stay.

    Finished work that is not here yet comes home first. Where that is not possible, or a job
    still runs, --yes is not enough: type the name, or give --confirm=NAME or --discard.

    \b
    gpuctl terminate gpuctl-flux-01k9 --yes
    """
    context: Context = ctx.obj
    reconcile(context)
    found, gone = _sorted_out(context, machine)
    names = ", ".join(item.name for item in found)
    if context.is_dry_run:
        context.console.result({"would_terminate": [m.id for m in found]}, f"would end {names}")
        return
    given = drained(context, found, is_discarding=discard)
    _agreed(context, found, given, confirm or ())
    machines.terminate_all(lambda machine: sessions.of(context, machine), found)
    saved = [file for one in given.values() for file in one.saved]
    ended = "\n".join(f"{item.name} is terminated; it bills nothing any more" for item in found)
    past = "\n".join(f"{name} was terminated before" for name in gone)
    context.console.result(
        {"terminated": [item.id for item in found], "already_gone": gone, "drained": saved},
        _came_home(saved) + "\n".join(filter(None, (ended, past))),
        changed=bool(found),
    )


def _sorted_out(context: Context, names: Sequence[str]) -> tuple[list[Machine], list[str]]:
    """The machines that are there, as they are now, and the names of those that were ours once."""
    found, gone = [], []
    for name in names:
        session = sessions.of_name(context, name)
        try:
            found.append(machines.refresh(session, machines.find(session, name)))
        except NotFound:
            if not machines.was_ours(session, name):
                raise
            gone.append(name)
    return found, gone


def _agreed(
    context: Context,
    found: Sequence[Machine],
    given: dict[str, Drained],
    confirmed: Sequence[str],
) -> None:
    """Raises UsageError unless the operator agrees to each loss, and to the end of the rest."""
    lossless = []
    for machine in found:
        losses = given[machine.id].losses
        if losses is None:
            lossless.append(machine.name)
        else:
            confirm_losses(context, machine, losses, confirmed)
    open_ = [name for name in lossless if name not in confirmed]
    if open_ and not context.console.confirm(f"terminate {', '.join(open_)} for good?"):
        raise UsageError("nothing was terminated")


def _came_home(files: Sequence[str]) -> str:
    return "".join(f"brought home: {file}\n" for file in files)
