"""Ends what an interrupted rehearsal left on EC2: nobody ever got to use that."""

from __future__ import annotations

from gpuctl.errors import GpuctlError, NotFound
from gpuctl.models import Machine
from gpuctl.providers.ec2 import NAME
from gpuctl.services import journal, leases, machines
from gpuctl.services.session import Session
from gpuctl.state_records import Intent


def settle(session: Session) -> list[str]:
    """Finds out about every open intent, and ends instances whose launch or validation died.

    Asks EC2 only when there is something to ask. The names of what was ended; what could not be
    asked or ended stays in the journal, is warned of, and is the reaper's.
    """
    journal.reconcile(session)
    ended = []
    for intent in _abandoned(session):
        try:
            machine = session.provider.get(intent.machine_id or "")
        except NotFound:
            session.state.resolve(intent.name, "gone", intent.machine_id)
            session.state.forget(intent.machine_id or "")
            continue
        except GpuctlError as error:
            session.report.warn(f"whether {intent.name} is billing is unknown: {error.message}")
            continue
        if _end(session, machine):
            ended.append(intent.name)
    return ended


def _abandoned(session: Session) -> list[Intent]:
    now = session.clock.now()
    return [
        intent
        for intent in session.state.journal()
        if intent.provider == NAME
        and intent.outcome in ("created", "found")
        and (lease := leases.of_intent(intent)) is not None
        and leases.is_abandoned(lease, now)
    ]


def _end(session: Session, machine: Machine) -> bool:
    session.report.warn(f"{machine.name} was left by an interrupted rehearsal: ending it")
    try:
        machines.terminate(session, machine)
    except GpuctlError as error:
        session.report.warn(f"{error.message}. {error.hint or 'gpuctl reap tries again'}")
        return False
    session.report.note(f"{machine.name} is terminated; it bills nothing any more")
    return True
