"""Everything that bills, from everyone who may send a bill, told apart by whose it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from gpuctl.errors import GpuctlError
from gpuctl.holdings import HOURS_A_MONTH, Holding
from gpuctl.models import JobRecord, Machine
from gpuctl.providers.ec2_account import Ec2Account
from gpuctl.providers.runpod_account import RunpodAccount, volume_holding
from gpuctl.services import leases
from gpuctl.services.asking import ask_all
from gpuctl.services.leases import Lease
from gpuctl.state_records import Intent

Whose = Literal["ours-running", "ours-forgotten", "not-ours"]
CLASSES: tuple[Whose, ...] = ("ours-running", "ours-forgotten", "not-ours")
PREFIX = "gpuctl-"
ASK_LIMIT_S = 60.0
# A machine that runs for so long without a job is one that somebody forgot.
IDLE_S = 6 * 3600.0

Question = Callable[[], list[Holding]]


@dataclass(frozen=True, slots=True)
class Owned:
    """A holding, whose it is, and why it counts as forgotten."""

    holding: Holding
    whose: Whose
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Total:
    """Sums of the prices that are known; `unknown` things have none."""

    count: int
    usd_h: float
    unknown: int

    @property
    def usd_day(self) -> float:
        return self.usd_h * 24

    @property
    def usd_month(self) -> float:
        return self.usd_h * HOURS_A_MONTH


@dataclass(frozen=True, slots=True)
class Inventory:
    """What was found, and who could not be asked. Only complete when nobody is in `unasked`."""

    owned: tuple[Owned, ...]
    unasked: Mapping[str, GpuctlError]
    asked: tuple[str, ...]

    def total(self, whose: Whose | None = None) -> Total:
        found = [each.holding for each in self.owned if whose in (None, each.whose)]
        prices = [each.usd_h for each in found]
        known = [price for price in prices if price is not None]
        return Total(len(found), sum(known), len(prices) - len(known))

    def ours(self) -> list[Holding]:
        return [each.holding for each in self.owned if each.whose != "not-ours"]


@dataclass(frozen=True, slots=True)
class Memory:
    """What this computer knows; `volume_id` is the configured one."""

    machines: Sequence[Machine] = ()
    journal: Sequence[Intent] = ()
    jobs: Sequence[JobRecord] = ()
    volume_id: str | None = None

    def lease(self, machine_id: str) -> Lease | None:
        found = [intent for intent in self.journal if intent.machine_id == machine_id]
        return leases.of_intent(found[0]) if found else None


def questions(
    account: RunpodAccount | None, regions: Sequence[Ec2Account] = ()
) -> dict[str, Question]:
    """Whom to ask for what, by the name under which a failure is told."""
    asked: dict[str, Question] = {}
    if account is not None:
        asked["RunPod pods"] = account.pods
        asked["RunPod endpoints"] = account.endpoints
        asked["RunPod volumes"] = lambda: [volume_holding(each) for each in account.volumes()]
    for region in regions:
        asked[f"EC2 {region.region}"] = region.holdings
    return asked


def take_stock(
    asked: Mapping[str, Question], memory: Memory, *, now: float, limit_s: float = ASK_LIMIT_S
) -> Inventory:
    """Asks everybody at once. Raises nothing: who could not be asked is in `unasked`."""
    answers = ask_all(asked, limit_s=limit_s)
    found = [each for listed in answers.found.values() for each in listed]
    owned = [_owned(each, found, memory, now) for each in found]
    owned.sort(
        key=lambda each: (CLASSES.index(each.whose), -(each.holding.usd_h or 0), each.holding.name)
    )
    return Inventory(tuple(owned), answers.failed, tuple(asked))


def _owned(holding: Holding, found: Sequence[Holding], memory: Memory, now: float) -> Owned:
    if not _is_ours(holding, found, memory):
        return Owned(holding, "not-ours")
    reason = _forgotten_because(holding, memory, now)
    return Owned(holding, "ours-forgotten" if reason else "ours-running", reason)


def _is_ours(holding: Holding, found: Sequence[Holding], memory: Memory) -> bool:
    """By its name, its tag, the journal, or because something of ours mounts it."""
    is_named = holding.name.startswith(PREFIX) or holding.tag is not None
    if is_named or _is_known(holding, memory) or holding.id == memory.volume_id:
        return True
    users = [each for each in found if each is not holding and _is_user(each, holding)]
    return any(_is_ours(user, (), memory) for user in users)


def _is_user(holding: Holding, mounted: Holding) -> bool:
    return holding.id in mounted.attached_to or holding.name in mounted.attached_to


def _is_known(holding: Holding, memory: Memory) -> bool:
    if any(holding.id == machine.id for machine in memory.machines):
        return True
    return any(
        holding.id == intent.machine_id or (holding.name and holding.name == intent.name)
        for intent in memory.journal
    )


def _forgotten_because(holding: Holding, memory: Memory, now: float) -> str:
    """Why nobody seems to look after it; empty when somebody does."""
    if holding.kind in ("volume", "disk"):
        is_kept = holding.attached_to or holding.id == memory.volume_id
        return "" if is_kept or _is_known(holding, memory) else "this computer has no record of it"
    if not _is_known(holding, memory):
        return "this computer has no record of it"
    if not holding.is_running or holding.kind not in ("pod", "instance"):
        return ""
    lease = memory.lease(holding.id)
    return _unleased_because(lease, now) or _idle_because(holding, lease, memory, now)


def _unleased_because(lease: Lease | None, now: float) -> str:
    """Why nothing will end it, or should have; empty when something will."""
    if lease is None:
        return "it has no lease: nothing will end it"
    if leases.is_abandoned(lease, now):
        return "its deploy was interrupted"
    if lease.end_at is not None and now > lease.end_at:
        return f"{_hours(now - lease.end_at)} past its deadline"
    return ""


def _idle_because(holding: Holding, lease: Lease | None, memory: Memory, now: float) -> str:
    """A watchdog that stops idle machines knows better when one is."""
    idle_s = now - _last_use(holding, memory, now)
    is_watched = lease is not None and lease.terms.idle_stop_s is not None
    return f"no job for {_hours(idle_s)}" if idle_s > IDLE_S and not is_watched else ""


def _last_use(holding: Holding, memory: Memory, now: float) -> float:
    """When a job was last seen on it, else when it was made."""
    jobs = [job for job in memory.jobs if job.machine_id == holding.id]
    if any(job.status in ("submitted", "running") for job in jobs):
        return now
    ends = [job.finished_at or job.created_at for job in jobs]
    return max([*ends, _created(holding, now)])


def _created(holding: Holding, now: float) -> float:
    try:
        return datetime.fromisoformat(holding.created_at or "").timestamp()
    except ValueError:
        return now


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds < 172800 else f"{seconds / 86400:.0f} days"
