"""How long each machine ran, stood still and cost, from what this computer wrote down: pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from gpuctl.holdings import pod_storage_usd_h
from gpuctl.models import Json
from gpuctl.state_records import Intent

ENDED = ("terminated", "gone")


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time (Unix seconds) at one rate, storage included."""

    began: float
    ended: float
    usd_h: float

    @property
    def usd(self) -> float:
        return max(0.0, self.ended - self.began) / 3600 * self.usd_h


def of_machine(intent: Intent, rate_usd_h: float | None, now: float) -> list[Span]:
    """What the machine behind a journal entry cost, stop by stop; [] when it never existed.

    `rate_usd_h` is what it was really billed at; None takes the rate of the offer.
    """
    if intent.machine_id is None:
        return []
    offered = intent.detail.get("offer") or {}
    rate = float(offered.get("price_usd_h") or 0.0) if rate_usd_h is None else rate_usd_h
    is_over = intent.outcome in ENDED and intent.resolved_at is not None
    end = intent.resolved_at if is_over and intent.resolved_at else now
    running = rate + _storage(intent.detail, is_stopped=False)
    stopped = _storage(intent.detail, is_stopped=True)
    found, began, usd_h = [], intent.created_at, running
    for event in intent.detail.get("events", ()):
        found.append(Span(began, float(event["at"]), usd_h))
        began, usd_h = float(event["at"]), stopped if event["event"] == "stopped" else running
    return [*found, Span(began, end, usd_h)]


def usd_so_far(
    journal: Sequence[Intent], rates_usd_h: Mapping[str, float | None], now: float
) -> dict[str, float]:
    """What each machine of ours cost since it was made, by machine id, storage included.

    A rate of 0 is that of a stopped machine: the offer's is taken for the time that it ran.
    """
    found: dict[str, float] = {}
    for intent in journal:
        machine_id = intent.machine_id
        if machine_id is not None and machine_id in rates_usd_h and machine_id not in found:
            made = of_machine(intent, rates_usd_h[machine_id] or None, now)
            found[machine_id] = round(sum(span.usd for span in made), 6)
    return found


def stopped_usd_h(journal: Sequence[Intent]) -> dict[str, float]:
    """What each pod of ours is billed an hour while it is stopped, by machine id."""
    pods = [intent for intent in journal if intent.machine_id and intent.provider == "runpod"]
    return {str(pod.machine_id): _storage(pod.detail, is_stopped=True) for pod in pods}


def within(spans: Sequence[Span], began: float, ended: float) -> list[Span]:
    """The parts of the spans between the two times."""
    cut = [
        replace(span, began=max(span.began, began), ended=min(span.ended, ended)) for span in spans
    ]
    return [span for span in cut if span.ended > span.began]


def by_day(span: Span) -> Iterator[tuple[str, float]]:
    """(UTC day, USD) for each day that the span touches."""
    began = span.began
    while began < span.ended:
        day = datetime.fromtimestamp(began, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        until = min(span.ended, (day + timedelta(days=1)).timestamp())
        yield f"{day:%F}", replace(span, began=began, ended=until).usd
        began = until


def _storage(detail: Json, *, is_stopped: bool) -> float:
    return pod_storage_usd_h(
        disk_gb=int(detail.get("disk_gb") or 0),
        volume_gb=int(detail.get("volume_gb") or 0),
        is_stopped=is_stopped,
    )
