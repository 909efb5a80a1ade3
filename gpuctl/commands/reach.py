"""What the commands that reach a machine share: which one, and a link to it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gpuctl.commands import sessions
from gpuctl.context import Context
from gpuctl.models import Machine
from gpuctl.services import access

MachineArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[MACHINE]",
        help="Name, id, workload, user@host[:port], ssh alias, or local. Default: the only one.",
    ),
]


def the_machine(context: Context, text: str | None) -> Machine:
    """Raises NotFound, UsageError."""
    session = sessions.of_name(context, text) if text else context.session()
    return access.choose(text, context.settings, session)


def behind_dashes(context: Context) -> list[str]:
    """The words behind `--`, which Typer hands over together with those before it."""
    words = list(context.argv)
    return words[words.index("--") + 1 :] if "--" in words else []


def workspace_of(context: Context, machine: Machine) -> str | None:
    """The folder that relative paths are in; None = the machine's own default."""
    asked = context.settings.text_or_none("remote.workspace")
    # /workspace is a pod's folder; on the operator's own computer nothing is made there.
    return str(Path.home() / ".gpuctl") if asked is None and machine.id == "local" else asked
