"""The client is killed at random instants: whatever it was doing, no machine is ever lost.

Slow (about a minute), because it kills real processes in real time. GPUCTL_TEST_CHAOS_ROUNDS makes
it longer, GPUCTL_TEST_CHAOS_SEED repeats a run whose seed a failure has named.
"""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import time
from dataclasses import dataclass
from typing import Any

import pytest

from gpuctl.cli import main
from gpuctl.console import Console
from gpuctl.context import Context
from gpuctl.services.journal import LIST_LAG_S
from gpuctl.services.waiting import Clock
from gpuctl.sim import launcher
from gpuctl.state import State
from tests.journeys.conftest import Person
from tests.support.clock import HurriedClock
from tests.support.simulator import FAST

ROUNDS = int(os.environ.get("GPUCTL_TEST_CHAOS_ROUNDS", "30"))
SEED = int(os.environ.get("GPUCTL_TEST_CHAOS_SEED") or random.SystemRandom().randrange(10**6))
ALIVE = ("created", "found", "adopted")


@dataclass
class Storm:
    """One account, and what happens to whoever works with it."""

    person: Person
    dice: random.Random
    simulator: launcher.Simulator
    told: str = ""

    @property
    def state(self) -> State:
        return State(self.person.sim_folder / "client/state.db")

    def pods(self) -> dict[str, str]:
        """Id → name of what the simulator holds: the truth."""
        return {pod["id"]: pod["name"] for pod in launcher.status(self.simulator)["pods"]}

    def machines(self) -> dict[str, str]:
        """Id → name of what the journal says exists."""
        return {
            str(intent.machine_id): intent.name
            for intent in self.state.journal(10_000)
            if intent.outcome in ALIVE
        }

    def begins(self) -> tuple[str, ...]:
        """Something that rents, replaces or ends."""
        if not self.pods():
            return ("deploy", "--gpu", "L4")
        names = list(self.pods().values())
        return self.dice.choice(
            [("deploy", "--gpu", "L4", "--replace", "--yes"), ("terminate", "--yes", *names)]
        )

    def kills(self, argv: tuple[str, ...], after_s: float) -> None:
        """SIGKILL after so long, wherever that finds it."""
        process = self.person.start("--sim", *argv)
        try:
            process.communicate(timeout=after_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()

    def settles(self, clock: Clock | None = None) -> dict[str, Any]:
        """The next command that anybody types; in this process, which saves half a second."""
        out = io.StringIO()
        context = Context(Console(stdout=out, stderr=io.StringIO()), clock=clock)
        assert main(["--sim", "--json", "status"], context=context) == 0
        data: dict[str, Any] = json.loads(out.getvalue())["data"]
        return data

    def check(self) -> None:
        shown = {each["id"]: each["name"] for each in self.settles()["machines"] if each["ours"]}
        pods = self.pods()
        assert shown == pods, f"status shows what there is ({self.told})"
        assert self.machines() == pods, f"the journal says the same ({self.told})"


def took(person: Person, *argv: str) -> float:
    began = time.monotonic()
    assert person.types("--sim", *argv).code == 0
    return time.monotonic() - began


@pytest.fixture
def storm(person: Person, monkeypatch: pytest.MonkeyPatch) -> Storm:
    for name, value in person.environ.items():
        monkeypatch.setenv(name, value)
    return Storm(person, random.Random(SEED), launcher.ensure(person.sim_folder, settings=FAST))


@pytest.mark.timeout(60 + 8 * ROUNDS)
def test_no_machine_is_lost_wherever_the_client_is_killed(storm: Storm) -> None:
    longest_s = took(storm.person, "deploy", "--gpu", "L4")
    for number in range(ROUNDS):
        argv, after_s = storm.begins(), storm.dice.uniform(0.1, longest_s)
        storm.told = f"seed {SEED}, round {number}: {' '.join(argv)} killed after {after_s:.3f} s"
        storm.kills(argv, after_s)
        storm.check()
    # A minute later: until then something might still be listed.
    storm.settles(HurriedClock(time.time() + LIST_LAG_S + 1))
    assert storm.state.unresolved() == [], f"every intent has an outcome ({storm.told})"
    assert storm.machines() == storm.pods()
    assert storm.person.simulates("panic", "--confirm=panic").code == 0
    assert storm.pods() == {}, f"and everything can be ended ({storm.told})"
    assert storm.machines() == {}
