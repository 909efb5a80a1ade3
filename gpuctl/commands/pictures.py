"""What every command that makes pictures does: plan, connect, watch, show."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from gpuctl.commands.picture_results import show_painted, show_plan
from gpuctl.context import Context
from gpuctl.models import Job, JobRecord, Json, Machine
from gpuctl.services import destinations, receipts, targets
from gpuctl.services.destinations import Destination
from gpuctl.services.pictures import Painted, Plan, Watch, Wish, new_record, plan, read_by_encoders
from gpuctl.workloads import flux
from gpuctl.workloads.flux_models import Tables

if TYPE_CHECKING:
    from gpuctl.services.enhancement import Pending
    from gpuctl.services.links import MachineLink


def paint_and_show(context: Context, wish: Wish, *, open_: bool | None) -> None:
    """One `gpuctl flux`: everything that can be refused is refused before anything is started."""
    order = plan(wish, tables(context), context.settings.path("flux.output_dir"))
    for note in order.request.notes:
        context.console.note(note)
    if context.is_dry_run:
        show_plan(context, wish, order, configured_machine(context, wish.on))
        return
    destinations.check(order.destination)
    began = context.clock.now()
    pending = _start_enhancement(context, wish, order)
    try:
        machine = usable_machine(context, wish.on)
        with context.link(machine) as link:
            link.open()
            painted = _paint(context, wish, order, link, pending, began)
    finally:
        if pending is not None:
            pending.cancel()
    show_painted(context, painted, open_=open_)


def _start_enhancement(context: Context, wish: Wish, order: Plan) -> Pending | None:
    """Claude thinks while the connection is made."""
    if not wish.enhance:
        return None
    from gpuctl.services import enhancement  # noqa: PLC0415  only when asked for

    request = enhancement.request_from(
        context.settings,
        order.request.prompt,
        project_folder=context.project_folder,
        cache_folder=context.cache_folder,
    )
    return enhancement.start(request)


def _paint(
    context: Context,
    wish: Wish,
    order: Plan,
    link: MachineLink,
    pending: Pending | None,
    began: float,
) -> Painted:
    connected = context.clock.now()
    prompts = enhanced_prompt(context, order.request.prompt, pending)
    request, meter = read_by_encoders(order.request, str(prompts["read"]))
    if meter.clip_dropped:
        context.console.note(f"{meter.line()}: CLIP will not see “{meter.clip_dropped}”")
    else:
        context.console.detail(meter.line())
    times = {
        "connect_s": round(connected - began, 3),
        "enhance_s": round(context.clock.now() - connected, 3) if pending else 0.0,
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
        link.open()
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
        _new_job_id(),
        job_input,
        destination,
        link.machine,
        target=targets.name_for(link.machine),
        context=told,
        now=context.clock.now(),
    )
    job = Job(record.id, flux.NAME, job_input, inputs)
    return watch_of(context, record, link).submit(job, detach=detach)


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


def configured_machine(context: Context, on: str | None) -> Machine | None:
    return targets.resolve(
        on,
        flux.NAME,
        settings=context.settings,
        memory=context.state,
        provider=context.provider,
        ssh_config=Path("~/.ssh/config").expanduser(),
    )


def usable_machine(context: Context, on: str | None) -> Machine:
    """The machine to paint on. In the simulator, where it costs nothing, one is rented first."""
    machine = configured_machine(context, on)
    if machine is not None:
        return machine
    if not context.is_sim:
        raise targets.none_for(flux.NAME)
    return _rent(context, flux.NAME)


def _rent(context: Context, workload: str) -> Machine:
    from gpuctl.services import deploy, orders  # noqa: PLC0415  only for the first picture
    from gpuctl.services.ssh_identity import public_line  # noqa: PLC0415  likewise

    session = context.session()
    order = orders.order(
        context.settings, workload, context.need(workload), public_line(context.ssh_key)
    )
    plan = deploy.plan(session, order)
    context.console.note(f"no machine yet: renting a simulated {plan.first.gpu_name}")
    return deploy.deploy(session, plan, probe=context.connector().probe)


def tables(context: Context) -> Tables:
    settings = context.settings
    return Tables(
        models=settings.table("models"),
        presets=settings.table("presets"),
        sizes=settings.table("sizes"),
        guidances=settings.table("guidances"),
    )


def _new_job_id() -> str:
    from ulid import ULID  # noqa: PLC0415  behind the connection

    return str(ULID())
