"""Shows the proofs that an image was validated, and whether they are still what was written."""

from __future__ import annotations

from typing import Annotated

import typer

from gpuctl.commands import ec2_text as text
from gpuctl.context import Context
from gpuctl.errors import UsageError, ValidationFailed
from gpuctl.models import Json
from gpuctl.services import durations, passports
from gpuctl.services.passports import Shelf

app = typer.Typer(help="Show the proofs that an image was validated.")

WhichArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[PASSPORT]", help="Digest or its beginning, image, or workload. Default: newest."
    ),
]


@app.command()
def show(ctx: typer.Context, which: WhichArgument = None) -> None:
    """Show one passport: its checks, its machine, what it could not cover.

    \b
    gpuctl passport show whisper
    """
    context: Context = ctx.obj
    shelf = _shelf(context)
    document = _one(shelf, which)
    why = passports.fault(shelf, document)
    path = shelf.path(str(document.get("digest")))
    context.console.result(
        {"passport": document, "intact": why is None, "fault": why, "file": str(path)},
        text.passport_text(document, why, path),
    )


@app.command("list")
def list_(ctx: typer.Context) -> None:
    """List every passport, newest first."""
    context: Context = ctx.obj
    shelf = _shelf(context)
    found = passports.all_of(shelf)
    context.console.result(
        {"passports": [{**_short(each), "fault": passports.fault(shelf, each)} for each in found]},
        text.passports_text([_row(shelf, each) for each in found]),
    )


@app.command()
def verify(ctx: typer.Context, which: WhichArgument = None) -> None:
    """Check that a passport is what was written, and counts now. Exit code 8 when it does not.

    \b
    gpuctl passport verify whisper && gpuctl deploy whisper
    """
    context: Context = ctx.obj
    shelf = _shelf(context)
    document = _one(shelf, which)
    max_age_s = durations.parsed(
        context.settings.text("deploy.passport_max_age"), "deploy.passport_max_age"
    )
    workload, digest = str(document.get("workload")), str(document.get("digest"))
    if why := passports.fault(shelf, document):
        raise ValidationFailed(
            f"the passport {digest[:19]}: {why}", hint=f"gpuctl ec2 validate {workload}"
        )
    passports.required(shelf, workload, digest, now=context.clock.now(), max_age_s=max_age_s)
    is_ours = passports.is_from_here(shelf, document)
    where = "made here" if is_ours else "made on another computer"
    context.console.result(
        {**_short(document), "intact": True, "made_here": is_ours},
        f"the passport of {workload} {digest[:19]} is intact, counts, and was {where}",
    )


def _shelf(context: Context) -> Shelf:
    return passports.shelf(context.state_folder, context.state)


def _one(shelf: Shelf, which: str | None) -> Json:
    if which is not None:
        return passports.find(shelf, which)
    found = passports.all_of(shelf)
    if not found:
        raise UsageError("there are no passports yet", hint="gpuctl ec2 validate")
    return found[0]


def _short(document: Json) -> Json:
    names = ("workload", "variant", "reference", "digest", "passed", "simulated", "created_at")
    return {name: document.get(name) for name in names}


def _row(shelf: Shelf, document: Json) -> tuple[str, ...]:
    machine = document.get("machine") or {}
    why = passports.fault(shelf, document)
    return (
        str(document.get("workload", "")),
        str(document.get("variant", "")),
        str(document.get("digest", ""))[:19],
        "passed" if document.get("passed") else "FAILED",
        str(document.get("created_at", "")),
        str(machine.get("gpu", "")),
        "intact" if why is None else "BROKEN",
    )
