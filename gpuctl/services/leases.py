"""When a machine ends: granted before it is rented, kept in the journal, moved by the operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace

from gpuctl.models import Json, Machine
from gpuctl.services import durations, journal
from gpuctl.services.budget import DRAIN_AT, END_AT, WARN_AT, Spending, Storage
from gpuctl.services.session import Session
from gpuctl.state_records import Intent

STOPPED = ("EXITED", "ERROR")


@dataclass(frozen=True, slots=True)
class Terms:
    """What the operator asked for. Spans in seconds; `reason` is why there shall be no lease.

    `at_deadline` is terminate or stop. None = without that limit.
    """

    ttl_s: float | None
    idle_stop_s: float | None = None
    budget_usd: float | None = None
    reason: str | None = None
    grace_s: float = 300.0
    boot_grace_s: float = 600.0
    gpu_idle_percent: float = 5.0
    at_deadline: str = "terminate"
    storage: Storage = field(default_factory=Storage)
    volume_path: str | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """Terms that have begun. Times are Unix seconds of this computer.

    `ttl_until` is None without a TTL. `deploying` names the process that still sets the machine
    up; when that process is gone, nobody ever got to use the machine. A stopped machine's lease is
    suspended: it has no deadline, and begins again with the next start.
    """

    terms: Terms
    issued_at: float
    ttl_until: float | None
    spending: Spending | None = None
    deploying: Json | None = None
    is_suspended: bool = False

    @property
    def serial(self) -> int:
        """Grows with every change: the machine tells by it whether it has the newest."""
        return int(self.issued_at * 1000)

    @property
    def is_waived(self) -> bool:
        return self.terms.reason is not None

    @property
    def is_binding(self) -> bool:
        return not self.is_waived and not self.is_suspended

    @property
    def drain_at(self) -> float | None:
        """From here on it ends as soon as no job runs."""
        return self._first(self.ttl_until, self._spent(DRAIN_AT))

    @property
    def end_at(self) -> float | None:
        """From here on it ends, whatever runs."""
        ttl = None if self.ttl_until is None else self.ttl_until + self.terms.grace_s
        return self._first(ttl, self._spent(END_AT))

    @property
    def warn_at(self) -> float | None:
        return self._first(self._spent(WARN_AT))

    def _spent(self, part: float) -> float | None:
        if self.terms.budget_usd is None or self.spending is None:
            return None
        return self.spending.reaches(self.terms.budget_usd * part)

    def _first(self, *moments: float | None) -> float | None:
        if not self.is_binding:
            return None
        return min((moment for moment in moments if moment is not None), default=None)

    def for_machine(self, now: float) -> Json:
        """What the machine's watchdog is sent: spans only, so that its clock plays no part."""
        moments = {
            "drain_in_s": self.drain_at,
            "end_in_s": self.end_at,
            "warn_in_s": self.warn_at,
        }
        terms = self.terms
        return {
            "serial": self.serial,
            **{name: None if at is None else at - now for name, at in moments.items()},
            "idle_stop_s": terms.idle_stop_s if self.is_binding else None,
            "boot_grace_s": terms.boot_grace_s,
            "gpu_idle_percent": terms.gpu_idle_percent,
            "at_deadline": terms.at_deadline,
            "volume_path": terms.volume_path,
        }


def begun(terms: Terms, now: float, *, rate_usd_h: float | None = None) -> Lease:
    """A new lease that counts from `now`. `rate_usd_h` is the GPU's; storage is added."""
    rate = None if rate_usd_h is None else rate_usd_h + terms.storage.running_usd_h
    return Lease(
        terms=terms,
        issued_at=now,
        ttl_until=None if terms.ttl_s is None else now + terms.ttl_s,
        spending=None if rate is None else Spending(0.0, now, rate),
    )


def described(terms: Terms | None) -> str:
    """The terms as people read them."""
    if terms is None or terms.reason is not None:
        return f"none: {terms.reason}" if terms else "none"
    parts = []
    if terms.ttl_s is not None:
        verb = {"terminate": "terminated", "stop": "stopped"}[terms.at_deadline]
        parts.append(f"{verb} after {durations.shown(terms.ttl_s)}")
    if terms.idle_stop_s is not None:
        parts.append(f"stopped after {durations.shown(terms.idle_stop_s)} without work")
    if terms.budget_usd is not None:
        parts.append(f"ended when ${terms.budget_usd:.2f} are spent")
    return ", ".join(parts) or "no limit"


def intended(terms: Terms, now: float, rate_usd_h: float) -> Json:
    """What goes into the journal before the billed call: `kill -9` then loses no deadline."""
    return to_json(replace(begun(terms, now, rate_usd_h=rate_usd_h), deploying=journal.author()))


def of(session: Session, machine: Machine) -> Lease | None:
    """None for a machine that this computer gave no lease."""
    intent = session.state.intent(machine.name)
    return of_intent(intent) if intent else None


def of_intent(intent: Intent) -> Lease | None:
    document = intent.detail.get("lease")
    return from_json(document) if isinstance(document, dict) else None


def save(session: Session, machine: Machine, lease: Lease) -> Lease:
    """Stores it under the machine's name; one that the journal does not know is adopted."""
    if session.state.intent(machine.name) is None:
        workload = machine.workload or ""
        session.state.intend(machine.name, machine.provider, workload, journal.author())
        session.state.resolve(machine.name, "adopted", machine.id)
    session.state.amend(machine.name, lambda _: {"lease": to_json(lease)})
    return lease


def deployed(session: Session, machine: Machine) -> None:
    """The machine is the operator's now: an interrupted deploy is no reason to end it any more."""
    lease = of(session, machine)
    if lease is not None and lease.deploying is not None:
        save(session, machine, replace(lease, deploying=None))


def seen(session: Session, machine: Machine) -> Lease | None:
    """The lease after what the provider says now: another price, stopped or started elsewhere."""
    lease = of(session, machine)
    if lease is None:
        return None
    now, storage = session.clock.now(), lease.terms.storage
    is_stopped = machine.status in STOPPED
    gpu_usd_h = 0.0 if is_stopped else machine.price_usd_h
    if not (gpu_usd_h or is_stopped):  # nothing is free: the rate is not known yet
        return lease
    assert gpu_usd_h is not None
    rate = gpu_usd_h + (storage.stopped_usd_h if is_stopped else storage.running_usd_h)
    spending = lease.spending or Spending(0.0, now, rate)
    is_changed = abs(spending.rate_usd_h - rate) > 1e-6 or lease.spending is None
    if not is_changed and lease.is_suspended == is_stopped:
        return lease
    if is_changed:
        spending = spending.changed(rate, now)
    lease = replace(lease, spending=spending, is_suspended=lease.is_suspended or is_stopped)
    return save(session, machine, replace(lease, issued_at=now))


def renewed(session: Session, machine: Machine) -> Lease | None:
    """Before a start: a deadline from before the stop must not end what is started now."""
    lease = of(session, machine)
    if lease is None:
        return None
    now = session.clock.now()
    until = None if lease.terms.ttl_s is None else now + lease.terms.ttl_s
    fresh = replace(lease, issued_at=now, ttl_until=until, is_suspended=False, deploying=None)
    return save(session, machine, fresh)


def extended(
    session: Session, machine: Machine, terms: Terms, by_s: float | None, budget_usd: float | None
) -> Lease:
    """Moves the deadline by `by_s` from where it is, or from now when it is past; `terms` are for
    a machine that has none. A higher budget counts what was spent so far."""
    now = session.clock.now()
    lease = of(session, machine)
    is_new = lease is None or not lease.is_binding
    if lease is None or lease.is_waived:
        lease = begun(terms, now, rate_usd_h=machine.price_usd_h)
    until = lease.ttl_until
    if by_s is not None:
        until = (now if is_new else max(now, until or now)) + by_s
    kept = replace(lease.terms, budget_usd=budget_usd or lease.terms.budget_usd, reason=None)
    return save(
        session,
        machine,
        replace(
            lease, terms=kept, issued_at=now, ttl_until=until, is_suspended=False, deploying=None
        ),
    )


def budget_warning(machine: Machine, lease: Lease, now: float) -> str | None:
    """What is said when four fifths of a budget are spent."""
    if lease.warn_at is None or lease.spending is None or now < lease.warn_at:
        return None
    return (
        f"{machine.name} has spent ${lease.spending.at(now):.2f} of its "
        f"${lease.terms.budget_usd:.2f}; more: gpuctl lease extend --budget USD {machine.name}"
    )


def is_abandoned(lease: Lease, now: float) -> bool:
    """Whether the deploy that made the machine died before anybody could use it."""
    author = lease.deploying
    if author is None or author == journal.author():
        return False
    return not journal.is_being_made(Intent("", "", "", lease.issued_at, author), now)


def report_abandoned(session: Session) -> None:
    """Names the machines whose deploy died after they were created, and before they were armed."""
    now = session.clock.now()
    for intent in session.state.journal():
        lease = of_intent(intent) if intent.outcome == "created" else None
        if lease is not None and is_abandoned(lease, now):
            session.report.warn(
                f"{intent.name} was left by an interrupted deploy, and cannot end itself. "
                f"Keep it: gpuctl start {intent.name}; or end it: gpuctl reap"
            )


def to_json(lease: Lease) -> Json:
    return asdict(lease)


def from_json(document: Json) -> Lease:
    """Fields that this version does not know are left alone."""
    terms = _known(Terms, document.get("terms") or {})
    storage = _known(Storage, terms.pop("storage", None) or {})
    spending = document.get("spending")
    values = _known(Lease, document)
    values["terms"] = Terms(**{"ttl_s": None, **terms, "storage": Storage(**storage)})
    values["spending"] = Spending(**_known(Spending, spending)) if spending else None
    return Lease(**values)


def _known(record: type[Terms | Lease | Storage | Spending], values: Mapping[str, object]) -> Json:
    names = {item.name for item in fields(record)}
    return {name: value for name, value in values.items() if name in names}
