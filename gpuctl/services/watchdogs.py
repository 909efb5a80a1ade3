"""The killer on the machine: armed with the first connection, believed only when read back."""

from __future__ import annotations

from gpuctl.errors import ConnectionFailed, GpuctlError
from gpuctl.models import Machine
from gpuctl.providers import ec2
from gpuctl.remote import watchdog
from gpuctl.remote.base import Shell
from gpuctl.remote.watchdog import Reading
from gpuctl.services import ec2_timer, leases
from gpuctl.services.connections import Connector
from gpuctl.services.leases import Lease
from gpuctl.services.session import Session


def arm(
    session: Session, shell: Shell, machine: Machine, *, workspace: str | None
) -> Reading | None:
    """Hands the machine its lease as it is now. None for a machine without one.

    Why it cannot be armed is in the reading. Raises ConnectionFailed.
    """
    lease = leases.seen(session, machine)
    if lease is None or lease.is_waived:
        return None
    sent = lease.for_machine(session.clock.now())
    try:
        if machine.provider == ec2.NAME:
            return ec2_timer.arm(session, shell, machine, lease)
        return watchdog.arm(shell, machine.id, sent, workspace=workspace)
    except ConnectionFailed:
        raise
    except GpuctlError as error:
        return Reading(error.message)


def arm_or_warn(session: Session, shell: Shell, machine: Machine, *, workspace: str | None) -> None:
    """The same while it boots. The machine works without a watchdog too: that is no failure, but
    the reaper of this computer is all that is left. Raises ConnectionFailed."""
    found = arm(session, shell, machine, workspace=workspace)
    if found is not None and found.why:
        session.report.warn(
            f"{machine.name} cannot end itself: {found.why}. Only `gpuctl reap` would end it"
        )


def rearm(
    session: Session, connector: Connector, machine: Machine, *, workspace: str | None
) -> Reading:
    """The same over a connection of its own; what fails is in the reading."""
    try:
        with connector.connect(machine) as shell:
            found = arm(session, shell, machine, workspace=workspace)
    except GpuctlError as error:
        return Reading(error.message)
    return found or Reading("there is no lease")


def ensured(
    session: Session, connector: Connector, machine: Machine, *, workspace: str | None
) -> Reading:
    """What the machine's watchdog says now. One that does not run, or holds an older lease, is
    given the newest on the same connection. What fails is in the reading."""
    lease = leases.of(session, machine)
    try:
        with connector.connect(machine) as shell:
            if machine.provider == ec2.NAME:
                return _timer(session, shell, machine, lease)
            found = watchdog.read(shell, machine.id, workspace=workspace)
            is_current = found.why is None and lease is not None and found.serial == lease.serial
            if is_current:
                return found
            return arm(session, shell, machine, workspace=workspace) or found
    except GpuctlError as error:
        return Reading(f"it could not be asked: {error.message}")


def _timer(session: Session, shell: Shell, machine: Machine, lease: Lease | None) -> Reading:
    """An instance has a shutdown that waits in place of a watchdog."""
    if lease is None or lease.is_waived:
        return Reading("there is no lease")
    return ec2_timer.ensured(session, shell, machine, lease)
