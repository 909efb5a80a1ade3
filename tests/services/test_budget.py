"""Dollars become time, whatever the rate does; and hopeless budgets are refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuctl.errors import BudgetRefused, UsageError
from gpuctl.services import durations
from gpuctl.services.budget import Spending, Storage, refuse_hopeless

usd = st.floats(0.01, 1000)
rate = st.floats(0.01, 50)
moment = st.floats(0, 1e6)


@given(usd, rate, moment)
def test_a_sum_is_spent_exactly_when_it_is_said_to_be(
    sum_usd: float, usd_h: float, now: float
) -> None:
    spending = Spending(0.0, now, usd_h)
    reached = spending.reaches(sum_usd)
    assert reached is not None
    assert spending.at(reached) == pytest.approx(sum_usd)
    assert reached >= now


@given(usd, rate, rate, st.floats(0, 1e5))
def test_a_new_price_changes_what_is_to_come_and_nothing_that_was(
    sum_usd: float, before: float, after: float, waited_s: float
) -> None:
    spending = Spending(0.0, 0.0, before)
    changed = spending.changed(after, waited_s)
    assert changed.at(waited_s) == pytest.approx(spending.at(waited_s))
    later, sooner = changed.reaches(sum_usd), spending.reaches(sum_usd)
    assert later is not None
    assert sooner is not None
    if sooner > waited_s and after < before:
        assert later >= sooner - 1e-6


@given(st.lists(st.tuples(rate, st.floats(0, 1e5)), min_size=1, max_size=8))
def test_spending_never_falls(changes: list[tuple[float, float]]) -> None:
    spending, now, before = Spending(0.0, 0.0, 1.0), 0.0, 0.0
    for usd_h, waited_s in changes:
        now += waited_s
        assert spending.at(now) >= before
        before = spending.at(now)
        spending = spending.changed(usd_h, now)


@given(usd, rate, st.floats(0, 1e4))
def test_warning_draining_and_the_end_come_in_that_order(
    sum_usd: float, usd_h: float, spent: float
) -> None:
    spending = Spending(spent, 0.0, usd_h)
    reached = [spending.reaches(sum_usd * part) or 0.0 for part in (0.8, 0.95, 1.0)]
    assert reached == sorted(reached)


def test_what_costs_nothing_never_spends_a_budget() -> None:
    assert Spending(0.0, 0.0, 0.0).reaches(1.0) is None
    assert Spending(2.0, 5.0, 0.0).reaches(1.0) == 5.0


def test_storage_costs_what_the_provider_lists() -> None:
    storage = Storage(disk_gb=30, volume_gb=80)
    assert storage.running_usd_h * 730 == pytest.approx(11.0)
    assert storage.stopped_usd_h * 730 == pytest.approx(16.0)


@given(usd, rate, st.floats(60, 3600))
def test_a_budget_that_booting_may_eat_is_refused_and_no_other(
    budget: float, usd_h: float, boot_s: float
) -> None:
    expected = (
        pytest.raises(BudgetRefused) if budget < usd_h * boot_s / 3600 else contextlib.nullcontext()
    )
    with expected:
        refuse_hopeless(budget, rate_usd_h=usd_h, boot_limit_s=boot_s)


def test_a_budget_above_the_balance_is_refused_and_an_unknown_balance_refuses_nothing() -> None:
    refuse_hopeless(None, rate_usd_h=1.0, boot_limit_s=1200)
    refuse_hopeless(6.0, rate_usd_h=1.0, boot_limit_s=1200, balance_usd=None)
    with pytest.raises(BudgetRefused, match=r"holds \$5.00"):
        refuse_hopeless(6.0, rate_usd_h=1.0, boot_limit_s=1200, balance_usd=5.0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("20m", 1200), ("2h", 7200), ("1d", 86400), ("1h30m", 5400), ("1.5 h", 5400)],
)
def test_times_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert durations.parsed(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "-1h", "0s", "2 hours", "1h nonsense", "1e3s"])
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match="such as 90s, 20m, 2h or 1d"):
        durations.parsed(text, "--ttl")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (59, "59s"),
        (60, "1m"),
        (2460, "41m"),
        (5400, "1h 30m"),
        (7200, "2h"),
        (97200, "1d 3h"),
    ],
)
def test_times_are_shown_in_two_units_at_most(seconds: float, text: str) -> None:
    assert durations.shown(seconds) == text
