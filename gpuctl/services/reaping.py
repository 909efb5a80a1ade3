"""Ends what is past its deadline, from this computer: the killer that needs no machine's help."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gpuctl.errors import GpuctlError
from gpuctl.models import Machine
from gpuctl.providers import ec2
from gpuctl.services import durations, journal, leases, machines
from gpuctl.services.draining import Drained
from gpuctl.services.leases import Lease
from gpuctl.services.session import Session

PREFIX = "gpuctl-"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was done about one machine: ended, stopped, kept, waits, unleased or failed.

    `saved` came home first; `error` says why it may still bill.
    """

    machine: Machine
    deed: str
    why: str
    saved: tuple[str, ...] = ()
    error: GpuctlError | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """One look at everything. `unknown` names what could not be asked: then it is no all-clear."""

    verdicts: tuple[Verdict, ...]
    unknown: tuple[str, ...] = ()

    @property
    def is_clear(self) -> bool:
        return not self.unknown and all(verdict.error is None for verdict in self.verdicts)

    @property
    def is_changed(self) -> bool:
        return any(verdict.deed in ("ended", "stopped") for verdict in self.verdicts)


def reap(
    session: Session, drain: Callable[[Machine], Drained], *, is_dry_run: bool = False
) -> Round:
    """Looks at every machine of ours that the provider lists and ends those whose time is over.

    One that resists does not save the others. Never ends what was stopped (its volume is kept on
    purpose), nor what has no lease from this computer: both are reported.
    """
    try:
        findings = [] if is_dry_run else journal.reconcile(session)
        listed = [entry.machine for entry in machines.status(session) if entry.is_ours]
    except GpuctlError as error:
        return Round((), (f"{session.provider.name}: {error.message}",))
    unknown = tuple(f.intent.name for f in findings if f.outcome in ("unchecked", "waiting"))
    round_ = [_judged(session, machine, drain, is_dry_run) for machine in listed]
    return Round(tuple(round_), unknown)


def joined(rounds: Sequence[Round]) -> Round:
    """What was done at every provider, as one."""
    return Round(
        tuple(verdict for round_ in rounds for verdict in round_.verdicts),
        tuple(who for round_ in rounds for who in round_.unknown),
    )


def _judged(
    session: Session, machine: Machine, drain: Callable[[Machine], Drained], is_dry_run: bool
) -> Verdict:
    try:
        kept = standing(session, machine)
        if kept is not None or is_dry_run:
            return kept or Verdict(machine, "kept", "past its deadline: would be ended")
        return _ended(session, machine, drain)
    except GpuctlError as error:
        return Verdict(machine, "failed", error.message, error=error)


def standing(session: Session, machine: Machine) -> Verdict | None:
    """Why the machine goes on; None when its time is over."""
    lease, now = leases.seen(session, machine), session.clock.now()
    if lease is None:
        return Verdict(machine, "unleased", "it has no lease from this computer")
    if lease.is_waived:
        return Verdict(machine, "kept", f"without a lease: {lease.terms.reason}")
    if machine.status in leases.STOPPED:
        rate = lease.terms.storage.stopped_usd_h
        return Verdict(machine, "kept", f"stopped; its volume costs ${rate:.3f}/h")
    if leases.is_abandoned(lease, now):
        return None
    if lease.is_suspended:
        return Verdict(machine, "unleased", "it was started elsewhere and has no deadline")
    return _unexpired(session, machine, lease, now)


def _unexpired(session: Session, machine: Machine, lease: Lease, now: float) -> Verdict | None:
    if said := leases.budget_warning(machine, lease, now):
        session.report.warn(said)
    if lease.drain_at is None:
        return Verdict(machine, "kept", "its lease has no deadline")
    if lease.drain_at > now:
        return Verdict(machine, "kept", f"ends in {durations.shown(lease.drain_at - now)}")
    return None


def _ended(session: Session, machine: Machine, drain: Callable[[Machine], Drained]) -> Verdict:
    lease, now = leases.of(session, machine), session.clock.now()
    assert lease is not None
    # Nobody ever got to use an instance whose rehearsal died: there is nothing to bring home.
    is_empty = machine.provider == ec2.NAME and leases.is_abandoned(lease, now)
    drained = Drained() if is_empty else drain(machine)
    if drained.is_used and leases.is_abandoned(lease, now):
        leases.deployed(session, machine)
        why = "its deploy was interrupted, but it has worked since"
        return Verdict(machine, "kept", why, drained.saved)
    if drained.running and (lease.end_at is None or now < lease.end_at):
        why = f"past its deadline, but {len(drained.running)} job(s) run"
        return Verdict(machine, "waits", why, drained.saved)
    if drained.losses:
        session.report.warn(f"{machine.name} ends, and {drained.losses}")
    why = _reason(lease, now)
    if lease.terms.at_deadline == "stop" and not leases.is_abandoned(lease, now):
        machines.stop(session, machine)
        return Verdict(machine, "stopped", why, drained.saved)
    machines.terminate(session, machine)
    return Verdict(machine, "ended", why, drained.saved)


def _reason(lease: Lease, now: float) -> str:
    if leases.is_abandoned(lease, now):
        return "its deploy was interrupted before it could be used"
    assert lease.drain_at is not None
    return f"{durations.shown(now - lease.drain_at)} past its deadline"
