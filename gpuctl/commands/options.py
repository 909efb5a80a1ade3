"""Options that several commands share, one help text each."""

from __future__ import annotations

from typing import Annotated

import typer

OnOption = Annotated[
    str | None,
    typer.Option(
        "--on",
        metavar="TARGET",
        help="Machine: a name or id, user@host[:port], an ssh alias, or local.",
    ),
]
OutOption = Annotated[
    str | None,
    typer.Option("--out", "-o", metavar="PATH", help="File or folder for the result."),
]
NoOpenOption = Annotated[
    bool | None, typer.Option("--open/--no-open", help="Show the result when it is here.")
]
DetachOption = Annotated[
    bool, typer.Option("--detach", help="Do not wait; fetch later with `gpuctl jobs attach`.")
]
PromptFileOption = Annotated[
    str | None,
    typer.Option("--prompt-file", metavar="FILE", help="Read the prompt from a file ('-': stdin)."),
]
PromptArgument = Annotated[
    str | None, typer.Argument(metavar="PROMPT", help="The text; '-' reads it from stdin.")
]
JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="Job id, or its first letters.")]
