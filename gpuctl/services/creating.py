"""One create call, journalled before it and settled after it, whatever the answer."""

from __future__ import annotations

from dataclasses import asdict, replace

from gpuctl.errors import ApiError, GpuctlError, StillBilling, TimedOut
from gpuctl.models import Json, Machine, MachineRequest, Offer
from gpuctl.services import journal, machines
from gpuctl.services.session import Session
from gpuctl.services.ulids import new_ulid
from gpuctl.services.waiting import wait_for

RATE_LIMIT_ROUNDS = 3
RATE_LIMIT_PAUSE_S = 60.0
LONGEST_RATE_LIMIT_S = 120.0
# A pod may be missing from the list for about 30 s after its creation (runpod.md §2.2).
LOOK_UP_S = 30.0
LOOK_UP_EVERY_S = 3.0


class NotSeen(GpuctlError):
    """The call broke, and nothing under its name appeared. The intent stays in the journal."""

    code = "not_seen"


def new_name(workload: str) -> str:
    """gpuctl-<workload>-<ulid>: unique, because the provider has no idempotency of its own."""
    return f"gpuctl-{workload}-{new_ulid().lower()}"


def create(
    session: Session,
    request: MachineRequest,
    offer: Offer,
    *,
    lease: Json | None = None,
    noted: Json | None = None,
) -> Machine:
    """Asks for `offer` under a new name and returns the machine, found by that name if need be.

    `noted` goes into the journal with the intent. Raises NotSeen when the call broke and nothing
    appeared, StillBilling when nobody could tell, and the provider's refusals as they are; those
    are certain to have created nothing.
    """
    request = replace(request, name=new_name(request.workload))
    detail = {
        **(noted or {}),
        **journal.author(),
        "offer": asdict(offer),
        "image": request.need.image,
        "disk_gb": request.need.disk_gb,
        "volume_gb": 0 if request.volume_id else request.need.volume_gb,
    }
    if lease is not None:
        detail["lease"] = lease
    session.state.intend(request.name, session.provider.name, request.workload, detail)
    try:
        machine = _made(session, request, offer)
    except KeyboardInterrupt as stop:
        raise StillBilling(
            f"interrupted while {request.name} was being created: it may exist",
            hint="gpuctl status looks for it and says what it costs",
            details={"name": request.name},
        ) from stop
    machine = replace(machine, name=request.name, workload=request.workload)
    session.state.remember(machine)
    session.state.resolve(request.name, "created", machine.id)
    return machine


def _made(session: Session, request: MachineRequest, offer: Offer) -> Machine:
    try:
        return _asked(session, request, offer)
    except ApiError as error:
        return _settled(session, request, error)
    except GpuctlError as error:
        session.state.resolve(request.name, f"refused: {error.code}")
        raise


def _asked(session: Session, request: MachineRequest, offer: Offer) -> Machine:
    """The call. A rate limit is waited out: it was refused before anything was done."""
    for round_ in range(1, RATE_LIMIT_ROUNDS + 1):
        try:
            return session.provider.create(request, offer)
        except ApiError as error:
            pause_s = error.retry_after_s or RATE_LIMIT_PAUSE_S
            is_limit = error.status == 429 and pause_s <= LONGEST_RATE_LIMIT_S
            if not is_limit or round_ == RATE_LIMIT_ROUNDS:
                raise
        session.report.note(f"rate limit: waiting {pause_s:.0f} s")
        session.clock.sleep(pause_s)
    raise AssertionError("the last round returns or raises")


def _settled(session: Session, request: MachineRequest, error: ApiError) -> Machine:
    """What a create call that raised really did."""
    is_refusal = error.status is not None and error.status < 500
    if is_refusal or error.details.get("sent") is False:
        session.state.resolve(request.name, f"refused: {error.status or 'not sent'}")
        raise error
    session.report.note(f"{error.message}; looking for {request.name}")
    found = _looked_up(session, request, error)
    for duplicate in found[1:]:
        machines.terminate(session, duplicate)
    session.report.note(f"{request.name} was created all the same")
    return found[0]


def _looked_up(session: Session, request: MachineRequest, error: ApiError) -> list[Machine]:
    """Every machine of that name, as soon as there is one. Raises NotSeen, StillBilling."""
    failures: list[GpuctlError] = []

    def listed() -> list[Machine] | None:
        failures.clear()
        try:
            seen = session.provider.list()
        except GpuctlError as failure:
            failures.append(failure)
            return None
        return [machine for machine in seen if machine.name == request.name] or None

    try:
        return wait_for(listed, timeout_s=LOOK_UP_S, every_s=LOOK_UP_EVERY_S, clock=session.clock)
    except TimedOut:
        if failures:
            raise StillBilling(
                f"whether {request.name} was created is unknown: {error.message}, and then "
                f"{failures[0].message}",
                hint="gpuctl status asks again; until it answers, assume that it is billed",
                details={"name": request.name},
            ) from error
    session.report.warn(
        f"{request.name} did not appear within {LOOK_UP_S:.0f} s; gpuctl status looks again"
    )
    raise NotSeen(error.message, hint=error.hint, details=error.details) from error
