"""A lease is in the journal before the billed call, and every change of fate finds it there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gpuctl.errors import NoCapacity
from gpuctl.models import Json, Machine
from gpuctl.services import leases, machines
from gpuctl.services.budget import Storage
from gpuctl.services.deploy import deploy, plan
from gpuctl.services.draining import Drained
from gpuctl.services.leases import Lease, Terms
from gpuctl.services.reaping import Round, reap
from tests.support.pod_api import Answer, PodApi, pod_api, problem
from tests.support.rental import Rental, an_order, rental

HOUR = 3600.0
TERMS = Terms(ttl_s=2 * HOUR, idle_stop_s=1200, storage=Storage(30, 80))


@pytest.fixture
def api() -> Iterator[PodApi]:
    with pod_api() as found:
        yield found


@pytest.fixture
def shop(api: PodApi, tmp_path: Path) -> Iterator[Rental]:
    with rental(api.url, tmp_path) as found:
        yield found


def rented(shop: Rental, terms: Terms = TERMS) -> Machine:
    return deploy(shop.session, plan(shop.session, an_order(lease=terms)))


def lease_of(shop: Rental, machine: Machine) -> Lease:
    found = leases.of(shop.session, machine)
    assert found is not None
    return found


def left_s(shop: Rental, machine: Machine) -> float | None:
    found = lease_of(shop, machine).drain_at
    return None if found is None else round(found - shop.clock.now(), 3)


def reaped(shop: Rental, drained: Drained | None = None) -> Round:
    return reap(shop.session, lambda _: drained or Drained())


def deeds(round_: Round) -> dict[str, str]:
    return {verdict.machine.id: verdict.deed for verdict in round_.verdicts}


def test_the_deadline_is_in_the_journal_before_the_machine_exists(
    api: PodApi, shop: Rental
) -> None:
    api.script("POST /v2/pods", Answer(400, problem(400, "no instances available")))
    seen: list[Json] = []
    whole = shop.session.provider.create

    def spied(*args: object) -> Machine:
        seen.extend(intent.detail["lease"] for intent in shop.state.unresolved())
        return whole(*args)  # type: ignore[arg-type]

    shop.session.provider.create = spied  # type: ignore[method-assign]
    rented(shop)
    assert all(lease["ttl_until"] - lease["issued_at"] == 2 * HOUR for lease in seen)
    assert len(seen) == 2, "one for the offer that was refused, one for the next"


def test_a_deploy_that_ended_well_is_nobodys_to_end(shop: Rental) -> None:
    machine = rented(shop)
    assert lease_of(shop, machine).deploying is None
    assert deeds(reaped(shop)) == {machine.id: "kept"}


def test_what_is_past_its_deadline_is_ended_and_its_end_is_confirmed(
    api: PodApi, shop: Rental
) -> None:
    machine = rented(shop)
    shop.clock.sleep(2 * HOUR + 1)
    round_ = reaped(shop)
    assert deeds(round_) == {machine.id: "ended"}
    assert round_.is_clear
    assert api.pods == {}


def test_a_running_job_is_waited_for_until_the_grace_is_over(api: PodApi, shop: Rental) -> None:
    machine = rented(shop)
    busy = Drained(running=("01JOB",), is_used=True)
    shop.clock.sleep(2 * HOUR + 1)
    assert deeds(reaped(shop, busy)) == {machine.id: "waits"}
    shop.clock.sleep(TERMS.grace_s)
    assert deeds(reaped(shop, busy)) == {machine.id: "ended"}


def test_a_machine_that_resists_does_not_save_the_others_and_is_no_all_clear(
    api: PodApi, shop: Rental
) -> None:
    first, second = rented(shop), rented(shop)
    shop.clock.sleep(2 * HOUR + 1)
    api.script(f"DELETE /v2/pods/{first.id}", *[Answer(500, "")] * 300)
    round_ = reaped(shop)
    assert deeds(round_) == {first.id: "failed", second.id: "ended"}
    assert not round_.is_clear


def test_a_provider_that_cannot_be_asked_is_named(api: PodApi, shop: Rental) -> None:
    rented(shop)
    api.script("GET /v2/pods", *[Answer(502, "<html>")] * 9)
    round_ = reaped(shop)
    assert (round_.verdicts, round_.is_clear) == ((), False)
    assert round_.unknown[0].startswith("runpod: ")


def test_at_the_deadline_a_machine_may_be_stopped_instead(api: PodApi, shop: Rental) -> None:
    machine = rented(shop, replace(TERMS, at_deadline="stop"))
    shop.clock.sleep(2 * HOUR + 1)
    assert deeds(reaped(shop)) == {machine.id: "stopped"}
    assert api.pods[machine.id]["status"] == "EXITED"
    shop.clock.sleep(10 * HOUR)
    assert deeds(reaped(shop)) == {machine.id: "kept"}, "what was stopped is kept on purpose"


def test_a_machine_without_a_lease_of_ours_is_reported_and_never_ended(
    api: PodApi, shop: Rental
) -> None:
    api.pods["p9"] = {"id": "p9", "name": "gpuctl-flux-elsewhere", "status": "RUNNING", "cost": 1.0}
    api.pods["p8"] = {"id": "p8", "name": "somebody-elses", "status": "RUNNING", "cost": 1.0}
    shop.clock.sleep(100 * HOUR)
    assert deeds(reaped(shop)) == {"p9": "unleased"}
    assert set(api.pods) == {"p9", "p8"}


def test_a_waived_lease_ends_nothing_and_its_reason_is_kept(shop: Rental) -> None:
    machine = rented(shop, Terms(ttl_s=None, reason="a week of training"))
    shop.clock.sleep(1000 * HOUR)
    [verdict] = reaped(shop).verdicts
    assert (verdict.deed, verdict.why) == ("kept", "without a lease: a week of training")
    intent = shop.state.intent(machine.name)
    assert intent is not None
    assert intent.detail["lease"]["terms"]["reason"] == "a week of training"


def test_a_deploy_that_died_leaves_a_machine_that_is_named_and_ended(
    api: PodApi, shop: Rental
) -> None:
    machine = rented(shop)
    dead = {"pid": 2**22 + 1, "computer": leases.journal.author()["computer"]}
    leases.save(shop.session, machine, replace(lease_of(shop, machine), deploying=dead))
    leases.report_abandoned(shop.session)
    [said] = shop.report.said("warn")
    assert machine.name in said
    assert "gpuctl reap" in said
    [verdict] = reaped(shop).verdicts
    assert (verdict.deed, verdict.why) == (
        "ended",
        "its deploy was interrupted before it could be used",
    )


def test_a_machine_of_a_dead_deploy_that_was_used_since_is_kept(api: PodApi, shop: Rental) -> None:
    machine = rented(shop)
    dead = {"pid": 2**22 + 1, "computer": leases.journal.author()["computer"]}
    leases.save(shop.session, machine, replace(lease_of(shop, machine), deploying=dead))
    assert deeds(reaped(shop, Drained(is_used=True))) == {machine.id: "kept"}
    assert deeds(reaped(shop)) == {machine.id: "kept"}


def test_extending_counts_from_the_deadline_or_from_now_when_that_is_past(shop: Rental) -> None:
    machine = rented(shop)
    leases.extended(shop.session, machine, TERMS, HOUR, None)
    assert left_s(shop, machine) == pytest.approx(3 * HOUR)
    shop.clock.sleep(5 * HOUR)
    leases.extended(shop.session, machine, TERMS, HOUR, None)
    assert left_s(shop, machine) == pytest.approx(HOUR)


def test_every_change_gives_the_machine_a_newer_lease(shop: Rental) -> None:
    machine = rented(shop)
    before = lease_of(shop, machine).serial
    shop.clock.sleep(1)
    leases.extended(shop.session, machine, TERMS, HOUR, None)
    assert lease_of(shop, machine).serial > before


def test_a_stop_suspends_the_deadline_and_a_start_begins_it_again(
    api: PodApi, shop: Rental
) -> None:
    machine = rented(shop)
    stopped = machines.stop(shop.session, machine)
    assert left_s(shop, machine) is None
    shop.clock.sleep(100 * HOUR)
    assert deeds(reaped(shop)) == {machine.id: "kept"}
    machines.start(shop.session, stopped, limit_s=60, probe=None)
    assert left_s(shop, machine) == pytest.approx(2 * HOUR)


def test_a_start_that_failed_leaves_no_deadline_behind(api: PodApi, shop: Rental) -> None:
    machine = machines.stop(shop.session, rented(shop))
    api.script(
        f"POST /v2/pods/{machine.id}/action",
        Answer(400, problem(400, "not enough free GPUs on the host")),
    )
    with pytest.raises(NoCapacity):
        machines.start(shop.session, machine, limit_s=60, probe=None)
    leases.seen(shop.session, machines.refresh(shop.session, machine))
    assert left_s(shop, machine) is None


def test_what_was_started_elsewhere_has_no_deadline_and_is_reported(
    api: PodApi, shop: Rental
) -> None:
    machine = machines.stop(shop.session, rented(shop))
    api.pods[machine.id]["status"] = "RUNNING"
    assert deeds(reaped(shop)) == {machine.id: "unleased"}


def test_a_budget_is_a_deadline_and_moves_with_the_price(api: PodApi, shop: Rental) -> None:
    machine = rented(shop, replace(TERMS, ttl_s=None, budget_usd=1.0))
    rate = 0.39 + TERMS.storage.running_usd_h
    lease = lease_of(shop, machine)
    assert left_s(shop, machine) == pytest.approx(0.95 / rate * HOUR, rel=1e-6)
    assert lease.end_at == pytest.approx(shop.clock.now() + 1.0 / rate * HOUR, rel=1e-9)
    shop.clock.sleep(HOUR)
    api.pods[machine.id]["cost"] = 0.78
    leases.seen(shop.session, machines.refresh(shop.session, machine))
    left = 0.95 - rate
    assert left_s(shop, machine) == pytest.approx(left / (rate + 0.39) * HOUR, rel=1e-6)


def test_a_budget_warns_at_four_fifths_and_ends_when_it_is_spent(api: PodApi, shop: Rental) -> None:
    machine = rented(shop, replace(TERMS, ttl_s=None, budget_usd=1.0))
    lease = lease_of(shop, machine)
    assert lease.warn_at is not None
    assert lease.drain_at is not None
    shop.clock.sleep(lease.warn_at - shop.clock.now() + 1)
    assert deeds(reaped(shop)) == {machine.id: "kept"}
    [said] = shop.report.said("warn")
    assert "has spent $0.80 of its $1.00" in said
    shop.clock.sleep(lease.drain_at - shop.clock.now() + 1)
    assert deeds(reaped(shop)) == {machine.id: "ended"}


def test_a_lease_survives_fields_that_a_later_version_wrote(shop: Rental) -> None:
    lease = leases.begun(TERMS, 100.0, rate_usd_h=0.5)
    document = leases.to_json(lease) | {"later": 1}
    document["terms"] = {**document["terms"], "later": 2}
    assert leases.from_json(document) == lease
