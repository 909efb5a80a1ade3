"""The watchdog on a machine, over one Shell: given its lease, and read back."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache

from gpuctl.errors import ConnectionFailed, GpuctlError
from gpuctl.models import Json
from gpuctl.remote import scripts
from gpuctl.remote.base import LOST, Completed, Shell
from gpuctl.resources import bundled

# The new watchdog asks the provider whether it takes its key, before it answers.
ARM_LIMIT_S = 60.0
READ_LIMIT_S = 20.0
# A watchdog looks every 10 s; a look may wait for nvidia-smi or for the provider.
STALE_S = 90.0


@dataclass(frozen=True, slots=True)
class Reading:
    """What a watchdog says of itself. `why` it is not to be relied on, None when it is.

    Seconds; None where it has no such limit. `holding` is what keeps it from the idle stop.
    """

    why: str | None
    serial: int | None = None
    remaining_s: float | None = None
    idle_stop_in_s: float | None = None
    holding: tuple[str, ...] = ()
    state: str = ""
    details: Json | None = None


@cache
def program() -> scripts.Bundle:
    """run.py and the watchdog alone: small enough to be the first thing that is sent."""
    root = bundled("remote_scripts")
    paths = [root / "run.py", *sorted((root / "watchdog").glob("*.py"))]
    return scripts.Bundle({path.relative_to(root).as_posix(): path.read_bytes() for path in paths})


def arm(shell: Shell, machine_id: str, lease: Json, *, workspace: str | None) -> Reading:
    """Gives the machine its lease, starts the watchdog where none runs, and reads it back.

    Raises ConnectionFailed, MissingDependency (no python3), TransferFailed, GpuctlError.
    """
    line = json.dumps(lease).encode() + b"\n"
    command = _command(machine_id, "arm", workspace)
    completed = shell.run(command, stdin=line, timeout_s=ARM_LIMIT_S)
    if scripts.is_missing(completed.exit_code, completed.stderr):
        scripts.ship(shell, program(), workspace=workspace)
        completed = shell.run(command, stdin=line, timeout_s=ARM_LIMIT_S)
    return reading(_answer(completed))


def read(shell: Shell, machine_id: str, *, workspace: str | None) -> Reading:
    """Changes nothing. Raises ConnectionFailed, GpuctlError."""
    command = _command(machine_id, "read", workspace)
    completed = shell.run(command, timeout_s=READ_LIMIT_S)
    if scripts.is_missing(completed.exit_code, completed.stderr):
        return Reading("it was never started, or by another version of gpuctl")
    return reading(_answer(completed))


def reading(document: Json) -> Reading:
    """The answer of `arm` and `read`, judged: only what was read back counts."""
    status = document.get("status") or {}
    return Reading(
        why=_doubt(document, status),
        serial=status.get("serial"),
        remaining_s=status.get("remaining_s"),
        idle_stop_in_s=status.get("idle_stop_in_s"),
        holding=tuple(status.get("holding") or ()),
        state=str(status.get("state") or ""),
        details=document,
    )


def _doubt(document: Json, status: Json) -> str | None:
    if not document.get("alive"):
        said = document.get("log") or ["it says nothing"]
        return f"it does not run: {said[-1]}"
    if not status:
        return "it runs, but has not looked yet"
    age_s = float(document.get("age_s") or 0.0)
    if age_s > STALE_S:
        return f"its last look is {age_s:.0f} s ago"
    if not status.get("armed"):
        return f"the provider does not take the machine's key: {status.get('key')}"
    return f"it cannot end the machine: {status['error']}" if status.get("error") else None


def _command(machine_id: str, verb: str, workspace: str | None) -> list[str]:
    return scripts.remote_command(
        machine_id, "watchdog", [verb, program().hash], workspace=workspace, hash=program().hash
    )


def _answer(completed: Completed) -> Json:
    if completed.exit_code == LOST:
        raise ConnectionFailed("the connection was lost before the watchdog answered")
    try:
        answer = json.loads(completed.stdout)
    except ValueError:
        answer = None
    if completed.exit_code != 0 or not isinstance(answer, dict):
        said = completed.stderr.strip().splitlines()[-1:] or [f"exit code {completed.exit_code}"]
        raise scripts.failure(completed) or GpuctlError(f"the watchdog did not start: {said[0]}")
    return answer
