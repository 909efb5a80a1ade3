"""What the commands that reach a machine share: which one, and a link to it."""

from __future__ import annotations

from typing import Annotated

import typer

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
    return access.choose(text, context.settings, context.session())


def behind_dashes(context: Context) -> list[str]:
    """The words behind `--`, which Typer hands over together with those before it."""
    words = list(context.argv)
    return words[words.index("--") + 1 :] if "--" in words else []
