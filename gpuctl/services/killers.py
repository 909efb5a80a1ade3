"""Who would end a machine, each believed only after it was read back."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpuctl.errors import ConfigError
from gpuctl.models import Json, Machine
from gpuctl.providers import ec2
from gpuctl.remote.watchdog import Reading
from gpuctl.services import durations, leases, reaper_timer
from gpuctl.services.asking import ask_all
from gpuctl.services.leases import Lease
from gpuctl.services.reaper_timer import Timer
from gpuctl.services.session import Session

STAMP = "reap.json"
READ_LIMIT_S = 15.0
# A timer that missed two turns does not run any more.
MISSED_TURNS = 3.0


@dataclass(frozen=True, slots=True)
class Killer:
    """`why` it cannot be relied on; None when it was read back and can. `said` is its own word."""

    name: str
    why: str | None
    said: Json | None = None

    @property
    def is_armed(self) -> bool:
        return self.why is None


@dataclass(frozen=True, slots=True)
class Guarded:
    """A machine with its lease and its killers; `killers` is empty when they were not asked."""

    machine: Machine
    lease: Lease | None
    killers: tuple[Killer, ...] = ()

    def words(self, now: float) -> str:
        """`41m ✓2/2`, as `status` shows it."""
        if self.lease is None:
            return "none ✗"
        if self.lease.is_waived:
            return "waived"
        if self.lease.is_suspended:
            return "— (stopped)" if self.machine.status in leases.STOPPED else "none ✗"
        left = self.lease.drain_at
        span = "no end" if left is None else durations.shown(left - now) if left > now else "over"
        if not self.killers:
            return span
        armed = sum(killer.is_armed for killer in self.killers)
        mark = "✓" if armed == len(self.killers) else "✗" if armed == 0 else "!"
        return f"{span} {mark}{armed}/{len(self.killers)}"

    def doubts(self, now: float) -> list[str]:
        """One line for each killer that cannot be relied on, and for a budget nearly spent."""
        said = self.lease and leases.budget_warning(self.machine, self.lease, now)
        return [
            *([said] if said else []),
            *self._unarmed(),
        ]

    def _unarmed(self) -> list[str]:
        return [
            f"{self.machine.name}: the {killer.name} would not end it: {killer.why}"
            for killer in self.killers
            if killer.why
        ]

    def as_json(self, now: float) -> Json:
        lease = self.lease
        if lease is None:
            return {"has_lease": False, "killers": []}
        spending = lease.spending
        left = None if lease.drain_at is None else round(lease.drain_at - now, 1)
        return {
            "has_lease": not lease.is_waived,
            "reason": lease.terms.reason,
            "is_suspended": lease.is_suspended,
            "remaining_s": left,
            "ends_at": lease.drain_at,
            "ends_at_latest": lease.end_at,
            "at_deadline": lease.terms.at_deadline,
            "idle_stop_s": lease.terms.idle_stop_s,
            "budget_usd": lease.terms.budget_usd,
            "spent_usd": None if spending is None else round(spending.at(now), 4),
            "rate_usd_h": None if spending is None else round(spending.rate_usd_h, 4),
            "killers": [
                {"name": k.name, "armed": k.is_armed, "why": k.why, "said": k.said}
                for k in self.killers
            ],
        }


def guarded(
    session: Session,
    machines: Sequence[Machine],
    *,
    read: Callable[[Machine], Reading] | None,
    reaper: Killer | None,
) -> dict[str, Guarded]:
    """Every machine's lease and killers by machine id; all machines are asked at once.

    `read` None asks nobody. A machine that does not answer in time has a killer that is not armed.
    """
    held = {machine.id: leases.seen(session, machine) for machine in machines}
    asked = [m for m in machines if read and _wants_killers(m, held[m.id])]
    answers = ask_all({m.id: _question(read, m) for m in asked if read}, limit_s=READ_LIMIT_S)
    found = {}
    for machine in machines:
        killers: tuple[Killer, ...] = ()
        if machine in asked:
            failure = answers.failed.get(machine.id)
            reading = answers.found.get(machine.id) or Reading(failure.message if failure else "?")
            lease = held[machine.id]
            assert lease is not None
            killers = tuple(k for k in (_on_it(machine, lease, reading), reaper) if k)
        found[machine.id] = Guarded(machine, held[machine.id], killers)
    return found


def stamp(folder: Path, *, at: float, is_clear: bool, ended: Sequence[str]) -> None:
    """Leaves word of a round that the timer began. Raises ConfigError when it cannot be written."""
    document = {"at": at, "clear": is_clear, "ended": list(ended)}
    part = folder / f"{STAMP}.{os.getpid()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        part.write_text(json.dumps(document), encoding="utf-8")
        part.replace(folder / STAMP)
    except OSError as error:
        raise ConfigError(f"{folder / STAMP} cannot be written: {error}") from error


def reaper(timer: Timer, folder: Path, now: float) -> Killer:
    """The reaper of this computer: its timer as the system tells it, and its last round."""
    kind = reaper_timer.installed(timer)
    if kind is None:
        return Killer("reaper", "no timer calls it; gpuctl reap --install")
    last = _last(folder)
    said: Json = {"timer": kind, "last": last}
    if last is None:
        return Killer("reaper", f"the {kind} timer is there, but has not called it yet", said)
    age_s = now - float(last.get("at") or 0.0)
    if age_s > MISSED_TURNS * timer.minutes * 60:
        ago = durations.shown(age_s)
        return Killer("reaper", f"the {kind} timer called it last {ago} ago", said)
    if not last.get("clear"):
        return Killer("reaper", "its last round could not ask or end everything", said)
    return Killer("reaper", None, said)


def _last(folder: Path) -> Json | None:
    try:
        found = json.loads((folder / STAMP).read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _wants_killers(machine: Machine, lease: Lease | None) -> bool:
    is_there = machine.status == "RUNNING" and machine.address is not None
    return is_there and lease is not None and lease.is_binding


def _question(read: Callable[[Machine], Reading], machine: Machine) -> Callable[[], Reading]:
    return lambda: read(machine)


def _on_it(machine: Machine, lease: Lease, reading: Reading) -> Killer:
    """The killer on the machine: a pod's watchdog, or the timer of an instance."""
    why = reading.why
    if why is None and reading.serial != lease.serial:
        why = "it holds another deadline"
    said = (reading.details or {}).get("status")
    name = "timer" if machine.provider == ec2.NAME else "watchdog"
    return Killer(name, why, said if isinstance(said, dict) else None)
