"""Tries a machine with one tiny job before it counts as usable, and ends one that fails it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from gpuctl.commands.pictures import tables
from gpuctl.context import Context
from gpuctl.errors import CredentialsError, GatedModel, GpuctlError, Interrupted, JobFailed
from gpuctl.models import JobRecord, Json, Machine
from gpuctl.services import canary, destinations, interrupts, journal, machines, targets
from gpuctl.services.delivery import new_record
from gpuctl.services.jobs import Tracking
from gpuctl.services.ulids import new_ulid
from gpuctl.workloads import WORKLOADS, flux, whisper

if TYPE_CHECKING:
    from gpuctl.services.session import Session

# Ends what failed: a new machine for good, one that was started is stopped again.
End = Callable[["Session", Machine, BaseException], None]

CanaryOption = Annotated[
    bool | None,
    typer.Option(
        "--canary/--no-canary",
        help="Try it with one tiny job; the first one downloads the model.",
    ),
]
PROMPT = "a small grey stone"
SIZE = "64x64"


def is_wanted(context: Context, asked: bool | None, *, wait: bool) -> bool:
    """Nobody who does not wait can be told how it went.

    Raises UsageError, before anything is rented, when the configured job could not be sent.
    """
    is_on = wait and (context.settings.flag("deploy.canary") if asked is None else asked)
    if is_on:
        _request(context)
    return is_on


def plan_row(is_tried: bool, workload: str = flux.NAME) -> str:
    small = {flux.NAME: "one 64x64 picture", whisper.NAME: "a recording whose words are known"}
    job = small.get(workload, "one tiny job")
    tried = f"{job} before it counts as usable; downloads the model"
    return f"  {'canary':<10}{tried if is_tried else 'none'}"


def prove(context: Context, machine: Machine, end: End, old: Machine | None = None) -> Json:
    """Runs the tiny job on `machine` and gives what it showed; {} when its workload has none.

    When it fails, `end` is called, except where the cause is the operator's to remove (a licence,
    a credential, Ctrl-C): then the machine stays and the error says what it costs. `old` is what
    it was to replace, and goes on as it was.
    """
    is_service = machine.workload == whisper.NAME
    tracking = None if is_service else _tracking(context, machine)
    if tracking is None and not is_service:
        return {}
    try:
        words, shown = _tried(context, machine, tracking)
    except KeyboardInterrupt:
        _say_unreplaced(context, old)
        raise _interrupted(machine, tracking) from None
    except BaseException as error:
        _say_unreplaced(context, old)
        if isinstance(error, GpuctlError) and _is_access(error):
            raise _kept(error, machine) from error
        if tracking is not None and tracking.record.status in ("submitted", "running"):
            tracking.update(status="failed", error=str(error))
        end(context.session(), machine, error)
        raise
    context.console.note(f"{machine.name} {words}")
    return {"canary": shown}


def _tracking(context: Context, machine: Machine) -> Tracking | None:
    """The tiny job; None where the workload has none."""
    given = _input(context, machine.workload)
    if machine.workload is None or given is None:
        return None
    record = _record(context, machine, machine.workload, given)
    return Tracking(record, context.state, context.clock, context.console)


def _tried(context: Context, machine: Machine, tracking: Tracking | None) -> tuple[str, Json]:
    """A service has no jobs: it is asked as its users would."""
    if tracking is None:
        from gpuctl.commands import service_canary  # noqa: PLC0415  only for a service

        return service_canary.run(context, machine)
    result = _run(context, machine, tracking)
    return result.words(), result.as_json()


def stop_again(session: Session, machine: Machine, error: BaseException) -> None:
    """What was only started keeps its volume. Raises StillBilling."""
    with interrupts.held(session.report):
        machines.stop(session, machine)
    session.report.note(f"{machine.name} is stopped again")
    if isinstance(error, GpuctlError):
        look = f"to look at it: gpuctl start {machine.name} --no-canary"
        error.hint = f"{error.hint}; {look}" if error.hint else look


def _say_unreplaced(context: Context, old: Machine | None) -> None:
    if old is not None:
        context.console.warn(f"{old.name} was not replaced; it bills {journal.price(old)}")


def _run(context: Context, machine: Machine, tracking: Tracking) -> canary.CanaryResult:
    settings = context.settings
    with context.link(machine) as link:
        link.dial(tracking.record.workload)
        return canary.run(
            link,
            tracking,
            clock=context.clock,
            limit_s=settings.number("deploy.canary_limit_s"),
            reconnect_limit_s=settings.number("ssh.reconnect_limit_s"),
        )


def _input(context: Context, workload: str | None) -> Json | None:
    """The smallest real job of the workload; None where it is tried in another way."""
    if workload == flux.NAME:
        return _request(context).to_input()
    if workload is None or workload not in WORKLOADS:
        return None
    return WORKLOADS[workload].canary_input(context.section(workload))


def _request(context: Context) -> flux.Request:
    """The smallest job that loads the configured model with the configured engine."""
    settings = context.settings
    choices = flux.Choices(
        prompt=PROMPT,
        preset=settings.text("flux.default_preset"),
        size=SIZE,
        seed=0,
        default_model=settings.text("flux.default_model"),
        steps=1,
        default_guidance=settings.number("flux.guidance"),
        engine=settings.text("flux.engine"),
    )
    return flux.resolve(choices, tables(context))


def _record(context: Context, machine: Machine, workload: str, given: Json) -> JobRecord:
    return new_record(
        new_ulid(),
        workload,
        given,
        destinations.Destination(context.settings.path(f"{workload}.output_dir")),
        machine,
        target=targets.name_for(machine),
        context={"prompt": given.get("prompt") or given.get("text"), "canary": True},
        now=context.clock.now(),
    )


def _is_access(error: GpuctlError) -> bool:
    is_gated = isinstance(error, JobFailed) and error.worker_code == "gated"
    return is_gated or isinstance(error, CredentialsError)


def _kept(error: GpuctlError, machine: Machine) -> CredentialsError:
    """The machine is well; what is missing is the operator's to give."""
    is_gated = isinstance(error, JobFailed)
    after = "gpuctl config set huggingface.token, then " if is_gated else ""
    kind = GatedModel if is_gated else CredentialsError
    return kind(
        f"{error.message}. {_still_there(machine)}",
        hint=f"{error.hint or 'give what is missing'}; {after}gpuctl flux …   "
        f"(or: gpuctl terminate {machine.name})",
        details={**error.details, **_billing(machine)},
    )


def _interrupted(machine: Machine, tracking: Tracking | None) -> Interrupted:
    job = {"job": tracking.record.id} if tracking is not None else {}
    return Interrupted(
        f"interrupted while it was tried with a tiny job. {_still_there(machine)}",
        hint=f"gpuctl flux …   (or: gpuctl terminate {machine.name})",
        details={**_billing(machine), **job},
    )


def _still_there(machine: Machine) -> str:
    return f"{machine.name} is kept and bills {journal.price(machine)}"


def _billing(machine: Machine) -> Json:
    return {"machine": machine.id, "name": machine.name, "price_usd_h": machine.price_usd_h}
