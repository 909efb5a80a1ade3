"""Our own estimate: from the journal, stop by stop, day by day."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gpuctl.errors import UsageError
from gpuctl.models import Json
from gpuctl.services import costs, spans
from gpuctl.services.spans import Span
from gpuctl.state_records import Intent

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()
HOUR = 3600.0


def an_intent(
    *events: tuple[float, str], outcome: str = "created", ended: float | None = None
) -> Intent:
    """Made at noon, for $1/h with 73 GB: a cent an hour when it runs, two when it is stopped."""
    detail: Json = {
        "offer": {"price_usd_h": 1.0},
        "disk_gb": 0,
        "volume_gb": 73,
        "events": [{"at": NOON + hours * HOUR, "event": event} for hours, event in events],
    }
    at = None if ended is None else NOON + ended * HOUR
    return Intent("n", "runpod", "flux", NOON, detail, outcome, "p", at)


def usd(intent: Intent, rate: float | None = None, hours: float = 10) -> float:
    return sum(span.usd for span in spans.of_machine(intent, rate, NOON + hours * HOUR))


def test_a_machine_costs_its_rate_and_its_disks_while_it_runs() -> None:
    assert usd(an_intent()) == pytest.approx(10 * 1.01)


def test_the_rate_that_was_billed_wins_over_the_one_that_was_offered() -> None:
    assert usd(an_intent(), rate=2.0) == pytest.approx(10 * 2.01)


def test_a_stopped_machine_costs_twice_its_volume_and_no_gpu() -> None:
    stopped = an_intent((2, "stopped"), (5, "started"))
    assert usd(stopped) == pytest.approx(2 * 1.01 + 3 * 0.02 + 5 * 1.01)


@pytest.mark.parametrize("outcome", ["terminated", "gone"])
def test_an_ended_machine_costs_nothing_more(outcome: str) -> None:
    assert usd(an_intent(outcome=outcome, ended=3)) == pytest.approx(3 * 1.01)


def test_what_never_existed_costs_nothing() -> None:
    never = Intent("n", "runpod", "flux", NOON, {}, "never_created", None)
    assert spans.of_machine(never, None, NOON + HOUR) == []


def test_a_span_is_cut_to_the_window_and_spread_over_its_days() -> None:
    [cut] = spans.within([Span(NOON, NOON + 48 * HOUR, 1.0)], NOON + HOUR, NOON + 30 * HOUR)
    assert cut.usd == pytest.approx(29)
    assert dict(spans.by_day(cut)) == pytest.approx({"2026-11-21": 11.0, "2026-11-22": 18.0})


@pytest.mark.parametrize(
    ("since", "began", "bucket"),
    [
        ("7d", "2026-11-14T00:00:00Z", "day"),
        ("2w", "2026-11-07T00:00:00Z", "day"),
        ("5h", "2026-11-21T07:00:00Z", "hour"),
        ("2026-11-01", "2026-11-01T00:00:00Z", "day"),
        ("2026-11-21T01:30:00+01:00", "2026-11-21T00:00:00Z", "hour"),
    ],
)
def test_a_window_begins_on_the_edge_of_a_bucket(since: str, began: str, bucket: str) -> None:
    asked = costs.window(since, NOON)
    assert (asked.start_text, asked.bucket) == (began, bucket)


@pytest.mark.parametrize("since", ["soon", "7", "2027-01-01", "-3d"])
def test_no_window_is_guessed(since: str) -> None:
    with pytest.raises(UsageError):
        costs.window(since, NOON)
