"""Finds out what became of intents that were never resolved, and says so in one line each."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

from gpuctl.errors import GpuctlError
from gpuctl.models import Json, Machine
from gpuctl.services.session import Session
from gpuctl.state_records import Intent

# A pod that was just created may be missing from the list for about 30 s (runpod.md §2.2).
LIST_LAG_S = 60.0
# A process that has been creating one machine for longer is not the one that wrote the intent.
LONGEST_CREATE_S = 3600.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of an intent: found (with the machine), never_created, waiting or unchecked."""

    intent: Intent
    outcome: str
    machine: Machine | None = None


def author() -> Json:
    """Who writes an intent, so that another process leaves it alone while its author lives."""
    return {"pid": os.getpid(), "computer": socket.gethostname()}


def reconcile(session: Session) -> list[Finding]:
    """Compares every unresolved intent of the provider with what the provider has under its name.

    Does not call the provider when there is nothing to ask. What cannot be asked stays unresolved
    and is warned of: it is never taken for an all-clear.
    """
    now = session.clock.now()
    open_intents = [
        intent
        for intent in session.state.unresolved()
        if intent.provider == session.provider.name and not is_being_made(intent, now)
    ]
    if not open_intents:
        return []
    try:
        listed = session.provider.list()
    except GpuctlError as error:
        names = ", ".join(intent.name for intent in open_intents)
        session.report.warn(f"whether {names} is billing could not be checked: {error.message}")
        return [Finding(intent, "unchecked") for intent in open_intents]
    by_name = {machine.name: machine for machine in listed}
    return [_settle(session, intent, by_name.get(intent.name)) for intent in open_intents]


def _settle(session: Session, intent: Intent, machine: Machine | None) -> Finding:
    if machine is not None:
        session.state.remember(machine)
        session.state.resolve(intent.name, "found", machine.id)
        session.report.warn(
            f"{machine.name} exists from an interrupted deploy: {machine.status}, "
            f"{price(machine)}. Keep it, or: gpuctl terminate {machine.name}"
        )
        return Finding(intent, "found", machine)
    if session.clock.now() - intent.created_at < LIST_LAG_S:
        session.report.warn(f"{intent.name} is not listed yet; it may still appear: gpuctl status")
        return Finding(intent, "waiting")
    session.state.resolve(intent.name, "never_created")
    session.report.note(f"{intent.name} was never created: nothing is billed for it")
    return Finding(intent, "never_created")


def price(machine: Machine) -> str:
    """The rate as people read it."""
    if machine.price_usd_h is None:
        return "at an unknown rate"
    return f"${machine.price_usd_h:.2f}/h"


def is_being_made(intent: Intent, now: float) -> bool:
    """Whether the process that wrote the intent still lives and may be waiting for the answer."""
    pid = intent.detail.get("pid")
    is_elsewhere = intent.detail.get("computer") != socket.gethostname()
    is_old = now - intent.created_at > LONGEST_CREATE_S
    if not isinstance(pid, int) or is_elsewhere or is_old or pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
