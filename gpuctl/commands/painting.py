"""Paints: connects, sends the order, watches it, shows what came home."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from gpuctl.commands.picture_results import show_painted
from gpuctl.commands.pictures import usable_machine
from gpuctl.context import Context
from gpuctl.models import Job, JobRecord, Json
from gpuctl.services import destinations, receipts, targets
from gpuctl.services.destinations import Destination
from gpuctl.services.picture_watch import Painted, Watch, new_record
from gpuctl.services.pictures import Plan, Wish, read_by_encoders
from gpuctl.services.ulids import new_ulid
from gpuctl.workloads import flux

if TYPE_CHECKING:
    from gpuctl.services.enhancement import Pending
    from gpuctl.services.links import MachineLink


def paint(
    context: Context,
    wish: Wish,
    order: Plan,
    link: MachineLink,
    pending: Pending | None,
    began: float,
) -> Painted:
    """Sends the order over `link`, which may still be dialling, and brings the pictures home."""
    if pending is not None:
        # A machine that cannot be reached is said before Claude is waited for.
        link.open()
    waited = context.clock.now()
    prompts = enhanced_prompt(context, order.request.prompt, pending)
    enhanced = context.clock.now()
    request, meter = read_by_encoders(order.request, str(prompts["read"]))
    if meter.clip_dropped:
        context.console.note(f"{meter.line()}: CLIP will not see “{meter.clip_dropped}”")
    else:
        context.console.detail(meter.line())
    link.open()
    times = {
        "connect_s": round((waited if pending else context.clock.now()) - began, 3),
        "enhance_s": round(enhanced - waited, 3) if pending else 0.0,
    }
    prompts |= {"clip_tokens": meter.clip_tokens, "times": times}
    return _send(
        context,
        link,
        request.to_input(),
        order.destination,
        {"prompt": prompts.pop("user"), **prompts},
        inputs=order.inputs,
        detach=wish.detach,
    )


def repaint(
    context: Context,
    file: Path,
    *,
    out: str | None,
    on: str | None,
    detach: bool,
    open_: bool | None,
) -> None:
    """One `gpuctl replay`: the job that the receipt of `file` describes, sent again."""
    receipt = receipts.read(file)
    job_input = receipts.job_input(receipt)
    formats = (*flux.FORMATS, "jpeg")
    folder = context.settings.path("flux.output_dir")
    destination = destinations.plan(out, folder, formats)
    if context.is_dry_run:
        text = f"would send the job again: {job_input['prompt']}"
        context.console.result({"input": job_input, "folder": str(destination.folder)}, text)
        return
    destinations.check(destination)
    prompts = receipt["prompts"]
    told = {
        "prompt": prompts.get("user"),
        "enhanced": prompts.get("enhanced"),
        "clip_tokens": prompts.get("clip_tokens"),
    }
    with context.link(usable_machine(context, on)) as link:
        link.dial(flux.NAME)
        painted = _send(context, link, job_input, destination, told, inputs={}, detach=detach)
    show_painted(context, painted, open_=open_)


def _send(
    context: Context,
    link: MachineLink,
    job_input: Json,
    destination: Destination,
    told: Json,
    *,
    inputs: Mapping[str, Path],
    detach: bool,
) -> Painted:
    record = new_record(
        new_ulid(),
        job_input,
        destination,
        link.machine,
        target=targets.name_for(link.machine),
        context=told,
        now=context.clock.now(),
    )
    job = Job(record.id, flux.NAME, job_input, inputs)
    return watch_of(context, record, link).submit(job, detach=detach)


def show(context: Context, painted: Painted, *, open_: bool | None) -> None:
    show_painted(context, painted, open_=open_)


def enhanced_prompt(context: Context, prompt: str, pending: Pending | None) -> Json:
    """The user's prompt, Claude's, and the one that will be read."""
    if pending is None:
        return {"user": prompt, "enhanced": None, "read": prompt}
    context.console.step("Claude is rewriting the prompt")
    found = pending.result()
    if found.warning:
        context.console.warn(found.warning)
        return {"user": prompt, "enhanced": None, "read": prompt}
    from gpuctl.commands.prompts_text import difference  # noqa: PLC0415  only when it changed
    from gpuctl.services.enhancement import diff  # noqa: PLC0415  loaded already

    context.console.note(difference(diff(prompt, found.text), context.console.style))
    return {"user": prompt, "enhanced": found.text, "read": found.text}


def watch_of(context: Context, record: JobRecord, link: MachineLink) -> Watch:
    return Watch(
        record,
        link,
        context.state,
        clock=context.clock,
        limit_s=context.settings.number("ssh.reconnect_limit_s"),
        report=context.console,
    )
