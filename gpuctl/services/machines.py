"""Machines that exist: finding, starting, stopping and ending them, each confirmed by a read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from gpuctl.errors import (
    ApiError,
    GpuctlError,
    NoCapacity,
    NotFound,
    TimedOut,
    UsageError,
)
from gpuctl.models import Machine
from gpuctl.services import interrupts, leases
from gpuctl.services.booting import DEAD, Probe, Unusable, last_words, until_usable
from gpuctl.services.confirming import confirmed
from gpuctl.services.session import Session
from gpuctl.services.targets import short_name

# An end that was answered as done, and was not, is asked for again.
RESEND_S = 15.0
COMING = ("RUNNING", "STARTING", "PROVISIONING")


@dataclass(frozen=True, slots=True)
class Listed:
    """A machine as the provider lists it, and whether gpuctl made or used it."""

    machine: Machine
    is_ours: bool


def status(session: Session) -> list[Listed]:
    """Everything the provider lists, ours first. What it no longer lists is forgotten.

    Raises what the provider raises: "could not ask" is never shown as "nothing there".
    """
    known = {
        machine.id: machine
        for machine in session.state.machines()
        if machine.provider == session.provider.name
    }
    listed = [_remembering(session, seen, known.get(seen.id)) for seen in session.provider.list()]
    present = {entry.machine.id for entry in listed}
    for missing in known.keys() - present:
        if _is_gone(session, missing):
            session.report.note(f"{known[missing].name} no longer exists")
            session.state.resolve(known[missing].name, "gone", missing)
            session.state.forget(missing)
    return sorted(listed, key=lambda entry: (not entry.is_ours, entry.machine.name))


def find(session: Session, text: str) -> Machine:
    """The machine called `text`: its id, its name (in full, short, or the end of it), or a workload
    that has exactly one. Memory first, then the provider. Raises NotFound, UsageError when several
    fit."""
    known = session.state.machine(text)
    if known is not None and known.provider == session.provider.name:
        return known
    machines = [entry.machine for entry in status(session)]
    for fits in (
        lambda machine: text in (machine.id, machine.name),
        lambda machine: machine.workload == text and machine.name.startswith("gpuctl-"),
        lambda machine: text == short_name(machine.name),
        lambda machine: len(text) >= 4 and machine.name.endswith(text),
    ):
        found = [machine for machine in machines if fits(machine)]
        if len(found) > 1:
            names = ", ".join(machine.name for machine in found)
            raise UsageError(f"'{text}' may be any of {names}", hint="give one name in full")
        if found:
            session.state.remember(found[0])
            return found[0]
    raise _unknown(text, [machine.name for machine in machines])


def for_workload(session: Session, workload: str) -> Machine | None:
    """The machine that serves `workload` as the provider sees it now, a running one first."""
    ours = [
        entry.machine
        for entry in status(session)
        if entry.is_ours and entry.machine.workload == workload
    ]
    alive = [machine for machine in ours if machine.status not in ("ERROR", "TERMINATED")]
    rank = {name: position for position, name in enumerate((*COMING, "EXITED"))}
    return min(alive, key=lambda machine: (rank.get(machine.status, 9), machine.name), default=None)


def refresh(session: Session, machine: Machine) -> Machine:
    """Reads the machine again, address included, and stores it. Raises NotFound when it is gone."""
    try:
        return session.read(machine)
    except NotFound as error:
        session.state.forget(machine.id)
        raise NotFound(
            f"{machine.name} no longer exists",
            hint=f"gpuctl deploy {machine.workload or ''}".strip(),
            details=error.details,
        ) from error


def start(
    session: Session,
    machine: Machine,
    *,
    limit_s: float,
    probe: Probe | None,
    wait: bool = True,
) -> Machine:
    """Starts a stopped machine and waits until it is usable; a running one is only waited for.

    When it comes up without its GPU, or not within `limit_s`, it is stopped again. Raises
    NoCapacity, TimedOut, StillBilling.
    """
    current = refresh(session, machine)
    if current.status in COMING:
        _take_over(session, current)
        return until_usable(session, current, limit_s=limit_s, probe=probe) if wait else current
    session.report.step(f"starting {current.name}")
    leases.renewed(session, current)
    try:
        current = _started(session, current)
        session.state.mark(current.name, "started")
        if wait:
            current = until_usable(session, current, limit_s=limit_s, probe=probe)
        _check_gpu(current)
    except BaseException as error:
        _stop_again(session, current, error)
        raise
    return current


def stop(session: Session, machine: Machine) -> Machine:
    """Stops the machine and waits until a read says so. Its volume stays, and stays billed.

    Idempotent. Raises StillBilling when it cannot be confirmed.
    """
    current = refresh(session, machine)
    if current.status == "EXITED":
        return current
    session.report.step(f"stopping {current.name}")
    is_sent = False

    def stopped() -> Machine | None:
        nonlocal is_sent
        if not is_sent:
            session.provider.stop(current.id)
            is_sent = True
        seen = refresh(session, current)
        return seen if seen.status in DEAD else None

    ended = confirmed(session, current, stopped, "stop")
    session.state.mark(current.name, "stopped")  # what it costs afterwards is only its volume
    leases.seen(session, ended)
    return ended


def terminate(session: Session, machine: Machine) -> None:
    """Ends the machine for good; done only when a later read no longer finds it.

    Idempotent: something already gone is success. Raises StillBilling when it cannot be confirmed.
    """
    session.report.step(f"terminating {machine.name}")
    sent_at: float | None = None

    def gone() -> bool | None:
        nonlocal sent_at
        if sent_at is None or session.clock.now() - sent_at > RESEND_S:
            session.provider.terminate(machine.id)
            sent_at = session.clock.now()
        return True if _is_gone(session, machine.id) else None

    confirmed(session, machine, gone, "terminate")
    # In this order: a kill in between leaves a machine that the next status finds gone.
    session.state.resolve(machine.name, "terminated", machine.id)
    session.state.forget(machine.id)


def terminate_all(session_of: Callable[[Machine], Session], doomed: Sequence[Machine]) -> None:
    """Ends every one of them, also when one resists; then raises for those that did."""
    failures: list[GpuctlError] = []
    for machine in doomed:
        session = session_of(machine)
        try:
            terminate(session, machine)
        except GpuctlError as error:
            session.report.warn(error.message)
            failures.append(error)
    if failures:
        raise max(failures, key=lambda error: error.exit_code)


def was_ours(session: Session, text: str) -> bool:
    """Whether the journal knows a machine of that id or name, whatever became of it."""
    names = ((i.name, i.machine_id, short_name(i.name)) for i in session.state.journal())
    return any(text in each for each in names)


def _is_gone(session: Session, machine_id: str) -> bool:
    try:
        return session.provider.get(machine_id).status == "TERMINATED"
    except NotFound:
        return True


def _started(session: Session, machine: Machine) -> Machine:
    """One start call. When nobody knows whether it worked, the machine is read instead."""
    try:
        session.provider.start(machine.id)
    except ApiError as error:
        if error.status is not None and error.status < 500:
            raise
    return refresh(session, machine)


def _take_over(session: Session, machine: Machine) -> None:
    """One that runs already: started elsewhere, or left by an interrupted deploy."""
    lease = leases.of(session, machine)
    if lease is not None and lease.is_suspended:
        leases.renewed(session, machine)
    leases.deployed(session, machine)


def _check_gpu(machine: Machine) -> None:
    """A host whose GPU was taken meanwhile may start the machine without one (runpod.md §13)."""
    if machine.gpu_count == 0:
        raise NoCapacity(
            f"{machine.name} came back without its GPU: its host is full",
            hint=f"try later, or: gpuctl deploy {machine.workload or ''} --replace",
        )


def _stop_again(session: Session, machine: Machine, error: BaseException) -> None:
    """After a start that led nowhere: what billed nothing before shall bill nothing now."""
    if isinstance(error, TimedOut | Unusable):
        for line in last_words(session, machine):
            session.report.note(f"  system log: {line}")
    with interrupts.held(session.report):
        stop(session, machine)
    session.report.note(f"{machine.name} is stopped again")


def _remembering(session: Session, seen: Machine, known: Machine | None) -> Listed:
    workload = seen.workload or (known.workload if known else None)
    current = replace(seen, workload=workload)
    is_ours = known is not None or seen.name.startswith("gpuctl-")
    if known is not None and known.status in COMING and seen.status in ("EXITED", "ERROR"):
        session.state.mark(seen.name, "stopped")
        session.report.warn(
            f"{seen.name} is {seen.status}, and not from here: stopped by its watchdog, by hand, "
            f"or by the provider (no credit?). gpuctl logs {seen.name} --source system; then "
            "gpuctl restart"
        )
    if is_ours:
        session.state.remember(current)
    return Listed(current, is_ours)


def _unknown(text: str, names: list[str]) -> NotFound:
    near = get_close_matches(text, names, n=1)
    return NotFound(
        f"there is no machine called '{text}'",
        hint=f"did you mean {near[0]}?" if near else "gpuctl status lists the machines",
    )
