"""Files on machines: copies, folders kept alike, the worker's scripts, and what fills the disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from gpuctl.commands import files_text as text
from gpuctl.commands.machine_choice import need
from gpuctl.commands.reach import MachineArgument, the_machine, workspace_of
from gpuctl.context import Context
from gpuctl.errors import UsageError
from gpuctl.models import Machine
from gpuctl.services import copying, disk_use, syncing, uploading
from gpuctl.services.local_trees import shown as printable
from gpuctl.services.persistence import Trees, persistently

Done = TypeVar("Done")


def cp(
    ctx: typer.Context,
    paths: Annotated[list[str], typer.Argument(metavar="SRC... DST", help="PATH or MACHINE:PATH.")],
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", hidden=True, help="Folders are copied anyway.")
    ] = False,
) -> None:
    """Copy files and folders to a machine or back, verified, resumed where a try before stopped.

    A relative path on a machine is in its workspace; :PATH means the only machine there is. Links
    inside a folder stay links; those that lead out of it are skipped with a warning.

    \b
    gpuctl cp lora.safetensors flux:loras/
    gpuctl cp flux:/workspace/jobs results/
    """
    del recursive  # for the habit: folders are copied whole
    context: Context = ctx.obj
    if len(paths) < 2:
        raise UsageError("where to?", hint="gpuctl cp SRC... DST; one side is MACHINE:PATH")
    *sources, target = map(copying.side, paths)
    is_up = target.machine is not None
    named = _one_machine([target] if is_up else sources)
    if is_up and any(one.machine is not None for one in sources):
        raise UsageError(
            "both sides are machines", hint="copy it here first, then from here to the other"
        )
    machine = the_machine(context, named or None)
    copy = copying.up if is_up else copying.down
    shown = f"{machine.name}:{target.path}" if is_up else target.path
    if context.is_dry_run:
        names = [one.path for one in sources]
        context.console.result(
            {"machine": machine.name, "sources": names, "target": target.path},
            f"would copy {', '.join(names)} to {shown}",
        )
        return
    done = _with_trees(
        context,
        machine,
        lambda trees: copy(trees, [one.path for one in sources], target.path, context.console),
    )
    data = {"machine": machine.name, "target": target.path, **asdict(done)}
    context.console.result(data, text.copied_text(done, shown), changed=True)


def sync(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder here.")],
    there: Annotated[
        str | None, typer.Argument(metavar="[MACHINE:DIR]", help="Default: the same name there.")
    ] = None,
    down: Annotated[bool, typer.Option("--down", help="From the machine to here.")] = False,
    delete: Annotated[
        bool, typer.Option("--delete", help="Remove what the other side has not; asks first.")
    ] = False,
    checksum: Annotated[
        bool, typer.Option("--checksum", help="Compare contents, not size and time.")
    ] = False,
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", metavar="PATTERN", help="Repeatable.")
    ] = None,
) -> None:
    """Make a folder on a machine like the one here: only what differs travels.

    Left out: .git, __pycache__, .venv, and what --exclude names. --dry-run lists what would go.

    \b
    gpuctl sync loras --dry-run
    gpuctl sync results flux:jobs --down
    """
    context: Context = ctx.obj
    side = copying.side(there) if there else copying.Side("", "")
    if side.machine is None:
        raise UsageError(f"'{there}' is no machine's folder", hint=f"MACHINE:{there}, or :{there}")
    wish = syncing.Wish(
        here=folder.expanduser(),
        there=side.path or folder.resolve().name,
        down=down,
        delete=delete,
        checksum=checksum,
        excludes=(*syncing.EXCLUDED, *(exclude or ())),
    )
    machine = the_machine(context, side.machine or None)
    todo = _with_trees(context, machine, lambda trees: syncing.plan(trees, wish))
    data = {"machine": machine.name, **text.plan_data(todo)}
    if context.is_dry_run:
        shown = text.plan_text(todo, "fetch" if down else "send")
        context.console.result(data, shown)
        return
    if todo.doomed:
        where = str(wish.here) if down else f"{machine.name}:{todo.root}"
        listed = ", ".join(map(printable, todo.doomed[:5])) + (
            ", …" if len(todo.doomed) > 5 else ""
        )
        if not context.console.confirm(f"delete {len(todo.doomed)} from {where} ({listed})?"):
            raise UsageError("nothing was changed")
    _with_trees(context, machine, lambda trees: syncing.carry_out(trees, todo, context.console))
    is_changed = bool(todo.send or todo.doomed)
    line = f"{len(todo.send)} sent, {len(todo.doomed)} deleted, {text.size(todo.bytes)}"
    context.console.result(data, line if is_changed else "both sides are alike", changed=is_changed)


def upload(
    ctx: typer.Context,
    machine: MachineArgument = None,
    workload: Annotated[
        str | None, typer.Option("--workload", metavar="NAME", help="Default: the machine's.")
    ] = None,
) -> None:
    """Put the worker's scripts on a machine now; the first job would do it by itself.

    \b
    gpuctl upload flux
    """
    context: Context = ctx.obj
    found = the_machine(context, machine)
    wanted = workload or found.workload or "flux"
    need(context, wanted)  # refuses a workload that nobody knows
    with context.connector().connect(found) as shell:
        done = uploading.upload(shell, wanted, workspace=workspace_of(context, found))
    state = "was there already" if done.was_there else f"sent, {text.size(done.bytes)}"
    context.console.result(
        {"machine": found.name, **asdict(done)},
        f"{done.workload} {done.hash}: {state}; {done.path}",
        changed=not done.was_there,
    )


def df(ctx: typer.Context, machine: MachineArgument = None) -> None:
    """Show how full a machine's workspace and container disk are, and with what.

    \b
    gpuctl df flux
    """
    context: Context = ctx.obj
    found = the_machine(context, machine)
    with context.connector().connect(found) as shell:
        context.console.step(f"measuring {found.name}")
        use = disk_use.measure(shell, workspace_of(context, found))
    for warning in text.full_warnings(use):
        context.console.warn(warning)
    if use.folders is None:
        context.console.warn("measuring the folders took too long; it was left")
    context.console.result({"machine": found.name, **text.disk_data(use)}, text.disk_text(use))


def _one_machine(sides: list[copying.Side]) -> str:
    names = {one.machine for one in sides}
    if None in names:
        hint = "MACHINE:PATH on one side; :PATH is the only machine there is"
        raise UsageError("none of the sides is a machine, or not all sources are", hint=hint)
    if len(names) > 1:
        raise UsageError("the sources are on different machines", hint="one machine at a time")
    return names.pop() or ""


def _with_trees(context: Context, machine: Machine, action: Callable[[Trees], Done]) -> Done:
    with context.link(machine) as link:
        return persistently(
            link,
            workspace_of(context, machine),
            action,
            clock=context.clock,
            limit_s=context.settings.number("ssh.reconnect_limit_s"),
            report=context.console,
        )
