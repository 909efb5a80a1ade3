"""What a machine's system and its container say."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from gpuctl.commands.reach import MachineArgument, the_machine
from gpuctl.commands.reach_text import duration_s
from gpuctl.context import Context
from gpuctl.errors import PassedThrough, UsageError
from gpuctl.services import logs as reading

# Colours, cursor movements and bells of somebody's program have no business on this terminal.
_CONTROLS = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[@-_]|[\x00-\x08\x0a-\x1f\x7f-\x9f]")


def logs(
    ctx: typer.Context,
    machine: MachineArgument = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C, or its end.")
    ] = False,
    source: Annotated[
        str | None,
        typer.Option("--source", metavar="NAME", help="system or container; both if not given."),
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="10m, 2h, or RFC 3339.")
    ] = None,
    tail: Annotated[
        int | None, typer.Option("--tail", "-n", metavar="N", help="The last N lines (100).")
    ] = None,
) -> None:
    """Show a machine's log. The system's lines tell why a machine is slow to start.

    \b
    gpuctl logs flux --source system
    gpuctl logs -f --since 10m
    """
    context: Context = ctx.obj
    asked = reading.wanted(source, tail, _moment(since) if since else None)
    found = the_machine(context, machine)
    if found.provider == "host":
        raise UsageError(
            f"{found.name} is a plain host: nobody keeps a log of it",
            hint=f"gpuctl exec --on {found.id} -- journalctl -n 100",
        )
    provider = context.provider(found.provider)
    if not follow:
        shown = _show(context, reading.backfill(provider, found, asked))
        context.console.result({"machine": found.name, "lines": shown})
        return
    limit_s = context.settings.number("ssh.reconnect_limit_s")
    lines = reading.follow(
        provider, found, asked, clock=context.clock, limit_s=limit_s, report=context.console
    )
    try:
        shown = _show(context, lines)
    except KeyboardInterrupt:
        if context.console.is_watched:
            context.console.note("")  # ends the line in which the terminal shows ^C
        context.console.result({"machine": found.name, "ended": "interrupted"}, ok=False)
        raise PassedThrough(130) from None
    context.console.result({"machine": found.name, "lines": shown, "ended": "gone"})


def _show(context: Context, lines: Iterable[reading.Line]) -> int:
    """Prints each as it comes, and gives their number."""
    count = 0
    for line in lines:
        count += 1
        context.console.emit(asdict(line))
        if not context.console.is_json:
            text = _CONTROLS.sub("", line.text)
            context.console.result({}, f"{line.ts}  {line.source:<9}  {text}")
    return count


def _moment(text: str) -> datetime:
    """RFC 3339, or so long ago. Raises UsageError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return datetime.now(UTC) - timedelta(seconds=duration_s(text))
    if moment.tzinfo is None:
        raise UsageError(f"'{text}' has no time zone", hint=f"{text}Z")
    return moment
