"""The killer on an EC2 instance: it powers off at its deadline, and EC2 ends what powers off."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from gpuctl.errors import GpuctlError
from gpuctl.models import Machine
from gpuctl.providers.ec2 import Ec2Provider
from gpuctl.remote import instance_timer
from gpuctl.remote.base import Shell
from gpuctl.remote.instance_timer import Waiting
from gpuctl.remote.watchdog import Reading
from gpuctl.services.leases import Lease
from gpuctl.services.session import Session

# The timer counts whole minutes, and clocks differ.
SLACK_S = 90.0


def arm(session: Session, shell: Shell, machine: Machine, lease: Lease) -> Reading:
    """Moves the timer to where the lease ends, and reads it back, with what EC2 would do then.

    Raises ConnectionFailed, GpuctlError.
    """
    if lease.end_at is None:
        return Reading("its lease has no deadline, so no timer is set")
    left_s = lease.end_at - session.clock.now()
    found = instance_timer.arm(shell, max(1, math.ceil(left_s / 60)))
    _provider(session).set_expiry(machine.id, rfc3339(lease.end_at))
    return _judged(session, machine, lease, found)


def ensured(session: Session, shell: Shell, machine: Machine, lease: Lease) -> Reading:
    """What waits there now; one that is missing or too late is armed again on the same shell."""
    found = _judged(session, machine, lease, instance_timer.read(shell))
    return found if found.why is None else arm(session, shell, machine, lease)


def rfc3339(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _judged(session: Session, machine: Machine, lease: Lease, found: Waiting) -> Reading:
    """Armed only if it powers off in time, and EC2 terminates what powers off."""
    why = _doubt(session, lease, found)
    if why is None and not _provider(session).ends_at_shutdown(machine.id):
        why = "EC2 would only stop it when it powers off"
    status = {"remaining_s": found.remaining_s, "mode": found.mode}
    return Reading(
        why=why,
        serial=lease.serial if why is None else None,
        remaining_s=found.remaining_s,
        state="armed" if why is None else "",
        details={"status": status},
    )


def _doubt(session: Session, lease: Lease, found: Waiting) -> str | None:
    if found.remaining_s is None:
        return "no shutdown waits on it"
    if found.mode not in ("poweroff", "halt"):
        return f"what waits on it is a {found.mode or 'shutdown of an unknown kind'}"
    end_at = lease.end_at
    if end_at is not None and found.remaining_s > end_at - session.clock.now() + SLACK_S:
        return "it powers off later than its lease says"
    return None


def _provider(session: Session) -> Ec2Provider:
    provider = session.provider
    if not isinstance(provider, Ec2Provider):
        raise GpuctlError(f"{provider.name} has no instances")
    return provider
