"""What build, push and image share: options, and the image that they mean."""

from __future__ import annotations

from typing import Annotated

import typer

from gpuctl.context import Context
from gpuctl.errors import UsageError
from gpuctl.images.engines import Voice
from gpuctl.services.image_building import Workshop

WorkloadArgument = Annotated[str, typer.Argument(metavar="WORKLOAD", help="What it is for.")]
SlimOption = Annotated[
    bool | None,
    typer.Option("--slim/--full", help="The leaner image, or the one with everything."),
]
TagOption = Annotated[
    str | None,
    typer.Option("--tag", metavar="TAG", help="Another tag, or the whole name: ME/NAME:TAG."),
]
PlatformOption = Annotated[
    str | None,
    typer.Option("--platform", metavar="OS/ARCH", help="Such as linux/amd64."),
]


def variant(slim: bool | None) -> str | None:
    """None leaves it to what the workload has."""
    return None if slim is None else ("slim" if slim else "full")


def workshop(context: Context) -> Workshop:
    """The engine, with what the operator should know of it said once."""
    engine = context.container_engine()
    if engine.note:
        context.console.note(engine.note)
    voice = Voice(context.console, context.console.detail)
    return Workshop(engine, context.registries(), context.state, voice)


def pairs(option: str, given: list[str] | None) -> dict[str, str]:
    """K=V, split at the first '='. Raises UsageError."""
    found: dict[str, str] = {}
    for pair in given or ():
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise UsageError(
                f"{option} wants NAME=VALUE, not '{pair}'", hint=f"{option} {pair or 'NAME'}=VALUE"
            )
        found[name] = value
    return found
