"""A killer counts only when it was read back, in time, with the newest deadline."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gpuctl.models import Address, Machine
from gpuctl.remote.watchdog import Reading, reading
from gpuctl.services import killers, leases
from gpuctl.services.killers import Guarded, Killer
from gpuctl.services.leases import Terms
from tests.support.pod_api import pod_api
from tests.support.rental import Rental, rental

NOW = 1_000_000.0
REAPER = Killer("reaper", None)
TERMS = Terms(ttl_s=41 * 60)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Rental]:
    with pod_api() as api, rental(api.url, tmp_path) as found:
        yield found


def a_machine(shop: Rental, name: str = "gpuctl-flux-1", status: str = "RUNNING") -> Machine:
    address = Address("127.0.0.1", 9) if status == "RUNNING" else None
    machine = Machine(name, name, "runpod", status, address=address, price_usd_h=0.5)
    lease = leases.begun(TERMS, shop.clock.now(), rate_usd_h=0.5)
    leases.save(shop.session, machine, lease)
    return machine


def serial(shop: Rental, machine: Machine) -> int:
    lease = leases.of(shop.session, machine)
    assert lease is not None
    return lease.serial


def words(shop: Rental, machine: Machine, said: Reading, reaper: Killer = REAPER) -> str:
    found = killers.guarded(shop.session, [machine], read=lambda _: said, reaper=reaper)
    return found[machine.id].words(shop.clock.now())


def test_both_killers_count_when_both_were_read_back(shop: Rental) -> None:
    machine = a_machine(shop)
    assert words(shop, machine, Reading(None, serial(shop, machine))) == "41m ✓2/2"
    late = Killer("reaper", "no timer calls it")
    assert words(shop, machine, Reading(None, serial(shop, machine)), late) == "41m !1/2"
    assert words(shop, machine, Reading("it does not run"), late) == "41m ✗0/2"


def test_a_watchdog_that_holds_another_deadline_does_not_count(shop: Rental) -> None:
    machine = a_machine(shop)
    stale = Reading(None, serial(shop, machine) - 1)
    found = killers.guarded(shop.session, [machine], read=lambda _: stale, reaper=REAPER)
    [doubt] = found[machine.id].doubts(shop.clock.now())
    assert doubt.endswith("the watchdog would not end it: it holds another deadline")


def test_a_machine_that_does_not_answer_holds_up_nothing_and_does_not_count(
    shop: Rental, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(killers, "READ_LIMIT_S", 0.2)
    deaf, quick = a_machine(shop, "gpuctl-flux-1"), a_machine(shop, "gpuctl-flux-2")
    for_ever = threading.Event()

    def read(machine: Machine) -> Reading:
        if machine is deaf:
            for_ever.wait()
        return Reading(None, serial(shop, machine))

    found = killers.guarded(shop.session, [deaf, quick], read=read, reaper=REAPER)
    for_ever.set()
    assert found[quick.id].words(shop.clock.now()) == "41m ✓2/2"
    assert found[deaf.id].words(shop.clock.now()) == "41m !1/2"
    assert "no answer within" in found[deaf.id].doubts(shop.clock.now())[0]


def test_who_cannot_answer_is_not_asked(shop: Rental) -> None:
    stopped = a_machine(shop, status="EXITED")
    assert words(shop, stopped, Reading("must not be asked")) == "— (stopped)"
    foreign = Machine("x", "gpuctl-flux-x", "runpod", "RUNNING", price_usd_h=0.5)
    assert words(shop, foreign, Reading("must not be asked")) == "none ✗"


def test_every_state_of_a_lease_has_its_words(shop: Rental) -> None:
    machine = a_machine(shop)
    lease = leases.begun(TERMS, NOW)
    assert Guarded(machine, lease).words(NOW) == "41m"
    assert Guarded(machine, lease).words(NOW + 3600) == "over"
    assert Guarded(machine, replace(lease, ttl_until=None)).words(NOW) == "no end"
    assert Guarded(machine, replace(lease, is_suspended=True)).words(NOW) == "none ✗"
    waived = replace(lease, terms=Terms(ttl_s=None, reason="a week"))
    assert Guarded(machine, waived).words(NOW) == "waived"


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ({"alive": False, "log": ["Traceback", "MemoryError"]}, "it does not run: MemoryError"),
        ({"alive": True, "status": None}, "has not looked yet"),
        ({"alive": True, "age_s": 500, "status": {"armed": True}}, "its last look is 500 s ago"),
        ({"alive": True, "age_s": 1, "status": {"key": "answered 401"}}, "answered 401"),
        (
            {"alive": True, "age_s": 1, "status": {"armed": True, "error": "stop was refused"}},
            "it cannot end the machine: stop was refused",
        ),
    ],
)
def test_a_watchdog_is_doubted_for_a_reason(document: dict[str, object], why: str) -> None:
    assert why in str(reading(document).why)


def test_a_watchdog_that_is_well_is_not_doubted() -> None:
    assert reading({"alive": True, "age_s": 2, "status": {"armed": True, "error": ""}}).why is None
