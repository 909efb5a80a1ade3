"""The one polling loop."""

from __future__ import annotations

import pytest

from gpuctl.errors import TimedOut
from gpuctl.services.waiting import wait_for
from tests.support.clock import JumpingClock


def test_what_is_there_already_is_not_waited_for() -> None:
    clock = JumpingClock()
    assert wait_for(lambda: "here", timeout_s=9, every_s=3, clock=clock) == "here"
    assert clock.pauses == []


def test_false_and_zero_are_answers() -> None:
    assert wait_for(lambda: 0, timeout_s=9, every_s=3, clock=JumpingClock()) == 0


def test_pauses_grow_up_to_the_interval_and_never_pass_the_limit() -> None:
    clock = JumpingClock(0.0)
    waited: list[float] = []
    with pytest.raises(TimedOut, match="waited 60 s for the moon"):
        wait_for(
            lambda: None, timeout_s=60, every_s=3, clock=clock, on_wait=waited.append,
            what="the moon",
        )  # fmt: skip
    assert clock.pauses[0] == 0.25
    assert max(clock.pauses) == 3
    assert sum(clock.pauses) == pytest.approx(60)
    assert waited[0] == 0


def test_the_last_check_is_at_the_limit() -> None:
    clock = JumpingClock(100.0)
    found = wait_for(
        lambda: True if clock.now() >= 110 else None, timeout_s=10, every_s=8, clock=clock
    )
    assert found is True


def test_a_limit_that_no_float_can_reach_exactly_ends_all_the_same() -> None:
    clock = JumpingClock(1_795_000_000.1)
    with pytest.raises(TimedOut):
        wait_for(lambda: None, timeout_s=92.30769230769231, every_s=3.0, clock=clock)
    assert clock.now() - 1_795_000_000.1 < 93
