"""Looks after the simulator."""

from __future__ import annotations

from typing import Annotated

import typer

from gpuctl.commands.render import table
from gpuctl.context import Context
from gpuctl.errors import UsageError
from gpuctl.services import simulator
from gpuctl.sim.kinds import FAULT_KINDS

app = typer.Typer(help="Look after the simulator: status, stop, reset, fault.")


@app.command()
def status(ctx: typer.Context) -> None:
    """Print whether the simulator runs, its pods and the faults that wait.

    \b
    gpuctl sim status
    """
    context: Context = ctx.obj
    found = simulator.status(context.sim_folder)
    context.console.result(found.as_json(), _status_text(found))


@app.command()
def stop(ctx: typer.Context) -> None:
    """End the simulator and whatever runs in its pods; they come back with the next start.

    \b
    gpuctl sim stop
    """
    context: Context = ctx.obj
    did_run = not context.is_dry_run and simulator.stop(context.sim_folder)
    text = "stopped" if did_run else "the simulator was not running"
    if context.is_dry_run:
        text = "would stop the simulator"
    context.console.result({"stopped": did_run}, text, changed=did_run)


@app.command()
def reset(ctx: typer.Context) -> None:
    """Stop the simulator and forget its pods, volumes, keys, faults and jobs.

    \b
    gpuctl sim reset
    """
    context: Context = ctx.obj
    if not context.is_dry_run:
        simulator.reset(context.sim_folder)
    text = "would reset the simulator" if context.is_dry_run else "the simulator is empty"
    context.console.result({"reset": not context.is_dry_run}, text, changed=not context.is_dry_run)


@app.command()
def fault(
    ctx: typer.Context,
    kind: Annotated[
        str | None, typer.Argument(metavar="[KIND]", help="What goes wrong; see --list.")
    ] = None,
    times: Annotated[
        int | None, typer.Option("--times", min=1, help="How often (once; disk-full: for good).")
    ] = None,
    value: Annotated[
        str | None, typer.Option("--value", help="What it depends on; see --list.")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Print every kind.")] = False,
    clear: Annotated[bool, typer.Option("--clear", help="Remove the faults that wait.")] = False,
) -> None:
    """Make something go wrong on purpose, to see what gpuctl does about it.

    \b
    gpuctl sim fault ssh-drop --value events:3
    """
    context: Context = ctx.obj
    if list_:
        context.console.result({"kinds": FAULT_KINDS}, _kinds_text())
    elif clear:
        _clear(context)
    elif kind is None:
        raise UsageError("which fault?", hint="gpuctl sim fault --list")
    else:
        _add(context, kind, times, value)


def _add(context: Context, kind: str, times: int | None, value: str | None) -> None:
    text = f"{kind}: {simulator.fault_meaning(kind)}"
    asked = {"kind": kind, "times": times, "value": value}
    if not context.is_dry_run:
        simulator.add_fault(context.simulator, kind, times=times, value=value)
    context.console.result({"fault": asked}, text, changed=not context.is_dry_run)


def _clear(context: Context) -> None:
    is_done = not context.is_dry_run and simulator.clear_faults(context.sim_folder)
    text = "no fault waits any more" if is_done else "nothing was changed"
    context.console.result({"cleared": is_done}, text, changed=is_done)


def _status_text(found: simulator.SimulatorStatus) -> str:
    if not found.is_running:
        return "the simulator is not running; any command with --sim starts it"
    rows = [tuple(str(cell or "—") for cell in row.values()) for row in found.as_json()["pods"]]
    faults = ", ".join(f"{fault['kind']} ×{fault['times']}" for fault in found.faults)
    lines = [
        f"running at {found.api_url} (process {found.pid})",
        table(("id", "name", "status", "gpu", "ssh"), rows) or "no pods",
        f"faults waiting: {faults}" if faults else "",
    ]
    return "\n".join(line for line in lines if line)


def _kinds_text() -> str:
    return table(("kind", "what happens"), list(FAULT_KINDS.items()))
