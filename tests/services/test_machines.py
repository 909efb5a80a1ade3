"""Machines that exist: found, started, stopped and ended, each confirmed by a read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gpuctl.errors import ApiError, NoCapacity, NotFound, StillBilling, TimedOut, UsageError
from gpuctl.models import Address, Json, Machine
from gpuctl.services import machines
from tests.support.pod_api import Answer, PodApi, pod_api, problem
from tests.support.rental import Rental, rental


@pytest.fixture
def api() -> Iterator[PodApi]:
    with pod_api() as found:
        yield found


@pytest.fixture
def shop(api: PodApi, tmp_path: Path) -> Iterator[Rental]:
    with rental(api.url, tmp_path) as found:
        yield found


def a_pod(api: PodApi, pod_id: str = "p1", **changes: object) -> Machine:
    pod: Json = {
        "id": pod_id,
        "name": f"gpuctl-flux-{pod_id}",
        "status": "RUNNING",
        "cost": 0.39,
        "gpu": {"id": "NVIDIA L4", "count": 1},
        "ssh": {"direct": {"host": "127.0.0.1", "port": 2201, "username": "root"}},
    }
    api.pods[pod_id] = {**pod, **changes}
    return Machine(pod_id, str(api.pods[pod_id]["name"]), "runpod", "RUNNING", workload="flux")


def start(shop: Rental, machine: Machine, limit_s: float = 600) -> Machine:
    return machines.start(shop.session, machine, limit_s=limit_s, probe=None)


def test_status_lists_everything_ours_first_and_remembers_only_ours(
    api: PodApi, shop: Rental
) -> None:
    a_pod(api, "b", name="somebody-elses")
    a_pod(api, "a")
    listed = machines.status(shop.session)
    assert [(entry.machine.id, entry.is_ours) for entry in listed] == [("a", True), ("b", False)]
    assert [machine.id for machine in shop.state.machines()] == ["a"]


def test_status_forgets_what_is_gone_and_says_so(api: PodApi, shop: Rental) -> None:
    shop.state.remember(a_pod(api))
    del api.pods["p1"]
    assert machines.status(shop.session) == []
    assert shop.state.machines() == []
    assert shop.report.said("note") == ["gpuctl-flux-p1 no longer exists"]


def test_status_that_could_not_ask_is_an_error_and_forgets_nothing(
    api: PodApi, shop: Rental
) -> None:
    shop.state.remember(a_pod(api))
    api.script("GET /v2/pods", *[Answer(502, "<html>Bad Gateway")] * 3)
    with pytest.raises(ApiError, match="502"):
        machines.status(shop.session)
    assert shop.state.machine("p1") is not None


@pytest.mark.parametrize("text", ["p123", "gpuctl-flux-p123", "flux", "lux-p123"])
def test_a_machine_is_found_by_id_name_workload_or_the_end_of_its_name(
    api: PodApi, shop: Rental, text: str
) -> None:
    a_pod(api, "p123")
    assert machines.find(shop.session, text).id == "p123"


def test_a_name_that_means_several_is_refused_with_all_of_them(api: PodApi, shop: Rental) -> None:
    a_pod(api, "p1")
    a_pod(api, "p2")
    with pytest.raises(UsageError, match="gpuctl-flux-p1, gpuctl-flux-p2"):
        machines.find(shop.session, "flux")


def test_an_unknown_machine_is_not_found_and_the_nearest_is_suggested(
    api: PodApi, shop: Rental
) -> None:
    a_pod(api, "p1")
    with pytest.raises(NotFound) as caught:
        machines.find(shop.session, "gpuctl-flux-p2")
    assert caught.value.hint == "did you mean gpuctl-flux-p1?"


def test_a_running_machine_serves_its_workload_before_a_stopped_one(
    api: PodApi, shop: Rental
) -> None:
    a_pod(api, "a", status="EXITED")
    a_pod(api, "b")
    a_pod(api, "c", status="ERROR")
    found = machines.for_workload(shop.session, "flux")
    assert found is not None
    assert found.id == "b"
    assert machines.for_workload(shop.session, "tts") is None


def test_refreshing_stores_the_address_of_now(api: PodApi, shop: Rental) -> None:
    machine = a_pod(api, ssh={"direct": {"host": "127.0.0.1", "port": 9, "username": "root"}})
    assert machines.refresh(shop.session, machine).address == Address("127.0.0.1", 9)
    stored = shop.state.machine("p1")
    assert stored is not None
    assert stored.address == Address("127.0.0.1", 9)


def test_refreshing_what_is_gone_forgets_it(api: PodApi, shop: Rental) -> None:
    machine = a_pod(api)
    shop.state.remember(machine)
    del api.pods["p1"]
    with pytest.raises(NotFound) as caught:
        machines.refresh(shop.session, machine)
    assert caught.value.hint == "gpuctl deploy flux"
    assert shop.state.machine("p1") is None


def test_stopping_is_done_when_a_read_says_so(api: PodApi, shop: Rental) -> None:
    machine = a_pod(api)
    assert machines.stop(shop.session, machine).status == "EXITED"
    assert machines.stop(shop.session, machine).status == "EXITED"
    assert len(api.calls("POST")) == 1


def test_a_stop_whose_answer_broke_is_confirmed_by_reading(api: PodApi, shop: Rental) -> None:
    machine = a_pod(api)
    api.script("POST /v2/pods", Answer(500, "", happens=True))
    assert machines.stop(shop.session, machine).status == "EXITED"


def test_a_locked_machine_that_cannot_be_stopped_is_still_billing(
    api: PodApi, shop: Rental
) -> None:
    machine = a_pod(api)
    api.script("POST /v2/pods", *[Answer(409, problem(409, "pod is locked"))] * 200)
    with pytest.raises(StillBilling, match="pod is locked"):
        machines.stop(shop.session, machine)


def test_terminating_is_done_when_a_read_no_longer_finds_it(api: PodApi, shop: Rental) -> None:
    machine = a_pod(api)
    shop.state.remember(machine)
    machines.terminate(shop.session, machine)
    machines.terminate(shop.session, machine)
    assert api.pods == {}
    assert shop.state.machine("p1") is None


def test_an_accepted_delete_is_no_proof_of_death(api: PodApi, shop: Rental) -> None:
    machine = a_pod(api)
    shop.state.remember(machine)
    api.script("DELETE /v2/pods", *[Answer(204, "")] * 20)
    with pytest.raises(StillBilling, match="waited 90 s"):
        machines.terminate(shop.session, machine)
    assert shop.state.machine("p1") is not None


def test_a_delete_that_did_nothing_is_asked_for_again(api: PodApi, shop: Rental) -> None:
    machine = a_pod(api)
    api.script("DELETE /v2/pods", Answer(204, ""))
    machines.terminate(shop.session, machine)
    assert api.pods == {}


def test_a_delete_is_repeated_until_it_gets_through(api: PodApi, shop: Rental) -> None:
    machine = a_pod(api)
    api.script("DELETE /v2/pods", Answer(500, ""), Answer(502, "<html>"))
    machines.terminate(shop.session, machine)
    assert api.pods == {}


def test_one_that_resists_does_not_save_the_others(api: PodApi, shop: Rental) -> None:
    first, second = a_pod(api, "a"), a_pod(api, "b")
    api.script("DELETE /v2/pods/a", *[Answer(500, "")] * 300)
    with pytest.raises(StillBilling):
        machines.terminate_all(lambda _: shop.session, [first, second])
    assert list(api.pods) == ["a"]


def test_a_stopped_machine_is_started_and_a_running_one_left_alone(
    api: PodApi, shop: Rental
) -> None:
    machine = a_pod(api, status="EXITED")
    assert start(shop, machine).status == "RUNNING"
    assert start(shop, machine).status == "RUNNING"
    assert len(api.calls("POST")) == 1


def test_a_start_on_a_full_host_is_no_capacity(api: PodApi, shop: Rental) -> None:
    machine = a_pod(api, status="EXITED")
    api.script("POST /v2/pods", Answer(400, problem(400, "not enough free GPUs on the host")))
    with pytest.raises(NoCapacity):
        start(shop, machine)
    assert api.pods["p1"]["status"] == "EXITED"


def test_a_machine_that_comes_back_without_its_gpu_is_stopped_again(
    api: PodApi, shop: Rental
) -> None:
    machine = a_pod(api, status="EXITED", gpu={"id": "NVIDIA L4", "count": 0})
    with pytest.raises(NoCapacity, match="without its GPU"):
        start(shop, machine)
    assert api.pods["p1"]["status"] == "EXITED"


def test_a_start_that_takes_too_long_is_stopped_again(api: PodApi, shop: Rental) -> None:
    machine = a_pod(api, status="EXITED", ssh=None)
    with pytest.raises(TimedOut):
        start(shop, machine, limit_s=60)
    assert api.pods["p1"]["status"] == "EXITED"
