"""Repeats a change until a read proves it; what cannot be proven may still bill."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from gpuctl.errors import ApiError, GpuctlError, NotFound, StillBilling
from gpuctl.models import Machine
from gpuctl.services.journal import price
from gpuctl.services.session import Session
from gpuctl.services.waiting import wait_for

T = TypeVar("T")

CONFIRM_LIMIT_S = 90.0
POLL_S = 2.0
# Refusals that asking again does not change; 409 and 429 pass.
_FINAL = (400, 405, 410)


def confirmed(session: Session, machine: Machine, check: Callable[[], T | None], verb: str) -> T:
    """`check` until it says something, errors of the way notwithstanding. Raises StillBilling."""
    last: list[GpuctlError] = []

    def patiently() -> T | None:
        try:
            return check()
        except ApiError as error:
            last[:] = [error]
            if error.status in _FINAL or _is_locked(error):
                raise
            return None

    try:
        return wait_for(patiently, timeout_s=CONFIRM_LIMIT_S, every_s=POLL_S, clock=session.clock)
    except NotFound:
        raise
    except GpuctlError as error:
        reason = last[-1].message if last else error.message
        raise StillBilling(
            f"could not confirm the {verb} of {machine.name} ({machine.id}), {price(machine)}: "
            f"{reason}",
            hint=f"gpuctl {verb} {machine.id}{' --unlock' if last and _is_locked(last[-1]) else ''}"
            ", or end it in the provider's console",
            details={"machine": machine.id, "name": machine.name},
        ) from error


def _is_locked(error: GpuctlError) -> bool:
    """A lock is lifted only with consent (runpod.md §13)."""
    return "locked" in str(error.details.get("detail", "")).lower()
