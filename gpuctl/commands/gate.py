"""The gate before a deploy: an image of a workload that asks for it must have been rehearsed."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from gpuctl.context import Context
from gpuctl.errors import UsageError
from gpuctl.images import references
from gpuctl.models import Json
from gpuctl.services import durations, image_refs
from gpuctl.services.deploy import Order

NoGateOption = Annotated[
    bool, typer.Option("--no-gate", help="Deploy without a passport; needs --reason.")
]


def passed(context: Context, order: Order, is_waived: bool, reason: str | None) -> Order:
    """The order for exactly the image that was validated, with a note for the journal.

    Raises ValidationFailed with the next step, UsageError for --no-gate without a reason.
    """
    _check(is_waived, reason)
    if not is_required(context, order.workload):
        return order
    if is_waived:
        context.console.warn(f"without a passport, on the record: {reason}")
        return replace(order, noted={"no_gate": reason})
    from gpuctl.services import passports  # noqa: PLC0415  only where there is a gate

    digest = _digest(context, order)
    document = passports.required(
        passports.shelf(context.state_folder, context.state),
        order.workload,
        digest,
        now=context.clock.now(),
        max_age_s=_max_age_s(context),
    )
    for line in document.get("not_covered", ()):
        context.console.note(f"not covered by its passport: {line}")
    image = str(references.parsed(order.need.image).at(digest))
    return replace(
        order,
        need=replace(order.need, image=image),
        noted={"passport": document["hash"]},
    )


def told(context: Context, order: Order, is_waived: bool, reason: str | None) -> Json | None:
    """What --dry-run says of the gate; None where there is none."""
    from gpuctl.errors import GpuctlError  # noqa: PLC0415  only here

    _check(is_waived, reason)
    if not is_required(context, order.workload):
        return None
    try:
        passed(context, order, is_waived, reason)
    except GpuctlError as error:
        return {"passed": False, "why": error.message, "hint": error.hint}
    return {"passed": True, "why": reason if is_waived else "its passport counts", "hint": None}


def row(gate: Json | None) -> str:
    """The line that a plan has on it; none without a gate."""
    if gate is None:
        return ""
    verdict = "passed" if gate["passed"] else "would refuse"
    hint = f" ({gate['hint']})" if gate["hint"] else ""
    return f"the gate {verdict}: {gate['why']}{hint}\n"


def is_required(context: Context, workload: str) -> bool:
    """Whether the configuration asks for a passport of this workload's image."""
    return context.section(workload).get("passport") == "required"


def _check(is_waived: bool, reason: str | None) -> None:
    if is_waived and not (reason or "").strip():
        raise UsageError(
            "--no-gate needs a reason, which is recorded",
            hint='--no-gate --reason "the model alone changed"',
        )


def _digest(context: Context, order: Order) -> str:
    """What the name stands for: written in it, as pushed from here, else as its registry says."""
    name = references.parsed(order.need.image)
    known = name.digest or image_refs.recorded(context.state, order.need.image)
    if known:
        return known
    from gpuctl.services import image_inspection  # noqa: PLC0415  only when a registry is asked

    return str(image_inspection.facts(order.need.image, context.registries()).digest)


def _max_age_s(context: Context) -> float:
    key = "deploy.passport_max_age"
    return durations.parsed(context.settings.text(key), key)
