"""What was spent: what the provider billed, beside what this computer's own records say."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from gpuctl.errors import GpuctlError, UsageError
from gpuctl.holdings import HOURS_A_MONTH, STANDARD, Bill, volume_usd_month
from gpuctl.models import JobRecord, Machine
from gpuctl.providers.runpod_account import RunpodAccount
from gpuctl.providers.runpod_endpoints import NAME as ENDPOINT_JOURNAL
from gpuctl.services import spans
from gpuctl.services.asking import ask_all
from gpuctl.services.jobs import cost_usd
from gpuctl.services.spans import Span
from gpuctl.services.volumes import JOURNAL as VOLUME_JOURNAL
from gpuctl.state_records import Intent

KINDS = ("pod", "endpoint", "volume")
GROUPS = ("machine", "workload", "day")
ASK_LIMIT_S = 60.0
# Shorter looks are asked for in hours: a day's bill would be widened to its whole day.
HOURLY_UP_TO = timedelta(days=2)
NOT_OURS = "not made by gpuctl"
_AGO = re.compile(r"(\d+)([hdw])")
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True, slots=True)
class Window:
    """Since when; on the edge of an hour or a day, because bills are cut there."""

    began: datetime
    ended: datetime
    bucket: str

    @property
    def start_text(self) -> str:
        return self.began.isoformat().replace("+00:00", "Z")


@dataclass(slots=True)
class Row:
    """One machine, workload or day. USD; `billed` and `estimated` are None when there is none.

    `jobs_usd` is what its jobs alone took of the GPU's time; `artifacts` what they made.
    """

    key: str
    name: str
    workload: str = ""
    billed: float | None = None
    estimated: float | None = None
    jobs_usd: float = 0.0
    artifacts: int = 0

    def add_billed(self, usd: float) -> None:
        self.billed = (self.billed or 0.0) + usd

    def add_estimated(self, usd: float) -> None:
        self.estimated = (self.estimated or 0.0) + usd

    @property
    def usd(self) -> float:
        """The larger: bills lag, and records may know less than the bill."""
        return max(self.billed or 0.0, self.estimated or 0.0)

    @property
    def usd_each(self) -> float | None:
        """For each thing made, boot and idleness included."""
        return self.usd / self.artifacts if self.artifacts else None


@dataclass(frozen=True, slots=True)
class Costs:
    """`failed` names the bills that could not be read: then `billed` is not complete."""

    window: Window
    rows: tuple[Row, ...]
    failed: Mapping[str, GpuctlError]
    notes: tuple[str, ...]

    @property
    def billed(self) -> float:
        return sum(row.billed or 0.0 for row in self.rows)

    @property
    def estimated(self) -> float:
        return sum(row.estimated or 0.0 for row in self.rows)


@dataclass(frozen=True, slots=True)
class Records:
    """What this computer wrote down."""

    journal: Sequence[Intent] = ()
    machines: Sequence[Machine] = ()
    jobs: Sequence[JobRecord] = ()


@dataclass(slots=True)
class _Thing:
    """Everything known of one billed id: bills, and spans of our own."""

    id: str
    kind: str
    name: str
    workload: str
    bills: list[Bill] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    jobs: list[JobRecord] = field(default_factory=list)


def window(since: str, now: float) -> Window:
    """`since` is 7d, 12h, 2w or a date. Raises UsageError."""
    ended = datetime.fromtimestamp(now, UTC)
    began = _since(since, ended)
    if began >= ended:
        raise UsageError(f"--since {since} is not in the past")
    if ended - began <= HOURLY_UP_TO:
        return Window(began.replace(minute=0, second=0, microsecond=0), ended, "hour")
    return Window(began.replace(hour=0, minute=0, second=0, microsecond=0), ended, "day")


def spent(account: RunpodAccount, records: Records, asked: Window, *, by: str) -> Costs:
    """Bills and estimate side by side. Raises nothing for bills that fail: see `failed`."""

    def question(kind: str) -> Callable[[], list[Bill]]:
        return lambda: account.bills(kind, start=asked.start_text, bucket=asked.bucket)

    answers = ask_all({kind: question(kind) for kind in KINDS}, limit_s=ASK_LIMIT_S)
    bills = [bill for listed in answers.found.values() for bill in listed]
    things = _things(bills, records, asked)
    rows = _grouped(things, by)
    return Costs(asked, tuple(rows), answers.failed, tuple(_notes(things, answers.failed)))


def _since(text: str, now: datetime) -> datetime:
    if match := _AGO.fullmatch(text.strip().lower()):
        return now - timedelta(**{_UNITS[match[2]]: int(match[1])})
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise UsageError(f"'{text}' is no time", hint="--since 7d, 12h, 2w or 2026-11-01") from None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _things(bills: Sequence[Bill], records: Records, asked: Window) -> list[_Thing]:
    things = {thing.id: thing for thing in _known(records, asked)}
    for bill in bills:
        thing = things.setdefault(bill.id, _Thing(bill.id, bill.kind, bill.id, NOT_OURS))
        thing.bills.append(bill)
    for job in records.jobs:
        if job.machine_id in things and job.created_at >= asked.began.timestamp():
            things[job.machine_id].jobs.append(job)
    return [thing for thing in things.values() if thing.bills or thing.spans]


def _known(records: Records, asked: Window) -> list[_Thing]:
    now, found = asked.ended.timestamp(), []
    rates = {machine.id: machine.price_usd_h for machine in records.machines}
    for intent in records.journal:
        if intent.machine_id is None:
            continue
        if intent.provider == ENDPOINT_JOURNAL:
            # Its workers come and go: only the bill knows when they ran.
            found.append(_Thing(intent.machine_id, "endpoint", intent.name, intent.workload))
            continue
        if intent.provider == VOLUME_JOURNAL:
            thing = _Thing(intent.machine_id, "volume", str(intent.detail["name"]), "storage")
            made = _volume_spans(intent, now)
        else:
            thing = _Thing(intent.machine_id, "pod", intent.name, intent.workload)
            made = spans.of_machine(intent, rates.get(intent.machine_id) or None, now)
        thing.spans = spans.within(made, asked.began.timestamp(), now)
        found.append(thing)
    return found


def _volume_spans(intent: Intent, now: float) -> list[Span]:
    is_over = intent.outcome == "deleted" and intent.resolved_at is not None
    end = intent.resolved_at if is_over and intent.resolved_at else now
    tier = str(intent.detail.get("tier", STANDARD))
    usd_h = (volume_usd_month(int(intent.detail["size_gb"]), tier) or 0.0) / HOURS_A_MONTH
    return [Span(intent.created_at, end, usd_h)]


def _grouped(things: Sequence[_Thing], by: str) -> list[Row]:
    if by == "day":
        return _by_day(things)
    rows: dict[str, Row] = {}
    for thing in things:
        key = thing.id if by == "machine" else thing.workload
        name = thing.name if by == "machine" else thing.workload
        row = rows.setdefault(key, Row(key, name, thing.workload))
        for bill in thing.bills:
            row.add_billed(bill.usd)
        for span in thing.spans:
            row.add_estimated(span.usd)
        row.jobs_usd += sum(cost_usd(job) or 0.0 for job in thing.jobs)
        row.artifacts += sum(len(job.artifacts) for job in thing.jobs)
    return sorted(rows.values(), key=lambda row: (-row.usd, row.name))


def _by_day(things: Sequence[_Thing]) -> list[Row]:
    rows: dict[str, Row] = defaultdict(lambda: Row("", ""))
    for thing in things:
        for bill in thing.bills:
            rows[bill.began[:10]].add_billed(bill.usd)
        for span in thing.spans:
            for day, usd in spans.by_day(span):
                rows[day].add_estimated(usd)
        for job in thing.jobs:
            row = rows[f"{datetime.fromtimestamp(job.created_at, UTC):%F}"]
            row.jobs_usd += cost_usd(job) or 0.0
            row.artifacts += len(job.artifacts)
    for day, row in rows.items():
        row.key = row.name = day
    return [rows[day] for day in sorted(rows)]


def _notes(things: Sequence[_Thing], failed: Mapping[str, GpuctlError]) -> list[str]:
    """Why the two sums differ, as far as can be told."""
    notes = [f"the bills for {kind}s could not be read: {e.message}" for kind, e in failed.items()]
    foreign = [thing for thing in things if not thing.spans]
    usd = sum(bill.usd for thing in foreign for bill in thing.bills)
    if foreign:
        notes.append(f"${usd:.2f} was billed for {len(foreign)} things not in this journal")
    unbilled = [t for t in things if t.spans and not t.bills and t.kind not in failed]
    usd = sum(span.usd for thing in unbilled for span in thing.spans)
    if unbilled:
        notes.append(
            f"${usd:.2f} of the estimate is for {len(unbilled)} things without a bill yet: "
            "bills come hours later"
        )
    return notes
