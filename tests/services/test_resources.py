"""Whose a thing is, whether somebody forgot it, and who did not answer."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest

from gpuctl.errors import ApiError, CredentialsError
from gpuctl.holdings import Holding
from gpuctl.models import JobRecord, Json, Machine
from gpuctl.services import leases, resources
from gpuctl.services.resources import Memory, take_stock
from gpuctl.state_records import Intent

NOW = 1_800_000_000.0
HOUR = 3600.0
POD = Holding("runpod", "pod", "p1", "gpuctl-flux-1", "RUNNING", "L4", 0.4, True,
              created_at="2026-11-21T00:00:00Z")  # fmt: skip
MACHINE = Machine("p1", "gpuctl-flux-1", "runpod", "RUNNING")


def an_intent(lease: leases.Lease | None = None, **changes: Any) -> Intent:
    detail: Json = {"lease": leases.to_json(lease)} if lease else {}
    intent = Intent("gpuctl-flux-1", "runpod", "flux", NOW - 9 * HOUR, detail, "created", "p1")
    return replace(intent, **changes)


def a_lease(ttl_h: float = 12, **terms: Any) -> leases.Lease:
    asked = leases.Terms(ttl_s=ttl_h * HOUR, **terms)
    return leases.begun(asked, NOW - 9 * HOUR, rate_usd_h=0.4)


def a_job(ended_h_ago: float, status: str = "done") -> JobRecord:
    at = NOW - ended_h_ago * HOUR
    return JobRecord("j", "flux", "p1", "p1", status, at, {}, finished_at=at)


def reason(memory: Memory, holding: Holding = POD) -> str:
    [owned] = take_stock({"x": lambda: [holding]}, memory, now=NOW).owned
    assert owned.whose == ("ours-forgotten" if owned.reason else "ours-running")
    return owned.reason


@pytest.mark.parametrize(
    ("memory", "why"),
    [
        (Memory(), "this computer has no record of it"),
        (Memory(machines=[MACHINE]), "it has no lease: nothing will end it"),
        (Memory(journal=[an_intent(a_lease(idle_stop_s=1200))]), ""),
        (Memory(journal=[an_intent(a_lease(ttl_h=2))]), "6.9 h past its deadline"),
        (Memory(journal=[an_intent(a_lease())], jobs=[a_job(1)]), ""),
        (Memory(journal=[an_intent(a_lease())], jobs=[a_job(8)]), "no job for 8.0 h"),
        (Memory(journal=[an_intent(a_lease())], jobs=[a_job(8, "running")]), ""),
        (Memory(journal=[an_intent(a_lease(reason="I watch it"))], jobs=[a_job(1)]), ""),
    ],
    ids=["no record", "no lease", "lease", "past", "busy", "idle", "running job", "waived"],
)
def test_a_running_machine_is_forgotten_when_nothing_will_end_it(memory: Memory, why: str) -> None:
    old = replace(POD, created_at="2020-01-01T00:00:00Z")
    assert reason(memory, old) == why


def test_a_deploy_that_died_leaves_a_forgotten_machine() -> None:
    dead = replace(a_lease(), deploying={"pid": 1, "computer": "another"})
    assert reason(Memory(journal=[an_intent(dead)])) == "its deploy was interrupted"


def test_names_tags_the_journal_and_mounts_tell_whose_it_is() -> None:
    instance = Holding(
        "ec2", "instance", "i-1", "gate", "RUNNING", "g4dn.xlarge", 0.5, True, tag=""
    )
    disk = Holding("ec2", "disk", "vol-1", "", "IN-USE", "100 GB", 0.01, False,
                   attached_to=("i-1",))  # fmt: skip
    foreign = replace(instance, id="i-2", name="web", tag=None)
    found = take_stock({"x": lambda: [foreign, disk, instance]}, Memory(), now=NOW)
    whose = {each.holding.id: each.whose for each in found.owned}
    assert whose == {"i-1": "ours-forgotten", "vol-1": "ours-running", "i-2": "not-ours"}


def test_prices_that_are_not_known_are_counted_and_not_taken_for_nothing() -> None:
    dear = replace(POD, id="p2", usd_h=None)
    total = take_stock({"x": lambda: [POD, dear]}, Memory(), now=NOW).total()
    assert (total.count, total.usd_h, total.unknown) == (2, 0.4, 1)
    assert total.usd_day == pytest.approx(9.6)


def test_who_refuses_and_who_hangs_are_named_and_the_others_heard() -> None:
    never = threading.Event()

    def refuses() -> list[Holding]:
        raise CredentialsError("no")

    def hangs() -> list[Holding]:
        never.wait(20)
        return []

    asked: dict[str, resources.Question] = {"a": lambda: [POD], "b": refuses, "c": hangs}
    found = take_stock(asked, Memory(), now=NOW, limit_s=0.2)
    never.set()
    assert [each.holding.id for each in found.owned] == ["p1"]
    assert isinstance(found.unasked["b"], CredentialsError)
    assert isinstance(found.unasked["c"], ApiError)
    assert found.unasked["c"].message == "no answer within 0.2 s"
