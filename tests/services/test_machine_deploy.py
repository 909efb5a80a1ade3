"""Renting: whatever the provider answers, nothing bills that nobody knows of."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gpuctl.errors import (
    ApiError,
    BudgetRefused,
    ConnectionFailed,
    CredentialsError,
    NoCapacity,
    StillBilling,
    TimedOut,
    UsageError,
)
from gpuctl.models import Json, Machine
from gpuctl.services.deploy import deploy, plan, preview
from tests.support.pod_api import Answer, PodApi, pod_api, problem
from tests.support.rental import Rental, an_order, rental
from tests.support.simulator import until

NO_CAPACITY = Answer(400, problem(400, "There are no longer any instances available"))
CREATE = "POST /v2/pods"


@pytest.fixture
def api() -> Iterator[PodApi]:
    with pod_api() as found:
        yield found


@pytest.fixture
def shop(api: PodApi, tmp_path: Path) -> Iterator[Rental]:
    with rental(api.url, tmp_path) as found:
        yield found


def rent(shop: Rental, probe: Callable[[Machine], None] | None = None, **wishes: object) -> Machine:
    chosen = plan(shop.session, an_order(**wishes))
    return deploy(shop.session, chosen, probe=probe)


def created(api: PodApi) -> list[Json]:
    return [body for body in api.calls("POST") if body and "gpu" in body]


def test_a_rented_machine_is_journalled_remembered_and_usable(api: PodApi, shop: Rental) -> None:
    machine = rent(shop)
    assert shop.outcomes() == ["created"]
    assert shop.state.machine(machine.id) == machine
    assert machine.address is not None
    assert machine.name == created(api)[0]["name"]
    assert machine.name.startswith("gpuctl-flux-")


def test_the_intent_is_on_disk_before_the_call(api: PodApi, shop: Rental) -> None:
    seen: list[list[str]] = []
    take = api.take

    def look(method: str, path: str) -> Answer | None:
        if method == "POST":
            seen.append([intent.name for intent in shop.state.unresolved()])
        return take(method, path)

    api.take = look  # type: ignore[method-assign]
    machine = rent(shop)
    assert seen == [[machine.name]]


def test_the_next_offer_is_tried_when_there_is_no_capacity(api: PodApi, shop: Rental) -> None:
    api.script(CREATE, NO_CAPACITY, NO_CAPACITY)
    machine = rent(shop)
    assert [body["gpu"]["id"] for body in created(api)] == [
        "NVIDIA L4",
        "NVIDIA GeForce RTX 4090",
        "NVIDIA L40S",
    ]
    assert machine.gpu == "NVIDIA L40S"
    assert shop.outcomes() == ["refused: no_capacity", "refused: no_capacity", "created"]


def test_when_every_offer_is_refused_each_reason_is_told(api: PodApi, shop: Rental) -> None:
    api.script(CREATE, *[NO_CAPACITY] * 3)
    with pytest.raises(NoCapacity) as caught:
        rent(shop)
    tried = caught.value.details["tried"]
    assert isinstance(tried, list)
    assert [entry["gpu"] for entry in tried] == ["L4", "RTX 4090", "L40S"]
    assert api.pods == {}


def test_a_pool_without_access_is_skipped(api: PodApi, shop: Rental) -> None:
    api.script(CREATE, Answer(403, problem(403, "no access to this pool")))
    assert rent(shop).gpu == "NVIDIA GeForce RTX 4090"


@pytest.mark.parametrize(
    ("status", "error"), [(401, CredentialsError), (402, BudgetRefused), (422, UsageError)]
)
def test_what_another_gpu_would_not_cure_stops_at_once(
    api: PodApi, shop: Rental, status: int, error: type[Exception]
) -> None:
    api.script(CREATE, Answer(status, problem(status, "no")))
    with pytest.raises(error):
        rent(shop)
    assert len(created(api)) == 1
    assert shop.state.unresolved() == []


def test_a_refusal_that_is_not_about_capacity_is_the_requests_fault(
    api: PodApi, shop: Rental
) -> None:
    api.script(CREATE, Answer(400, problem(400, "exactly one of gpu or cpu")))
    with pytest.raises(ApiError, match="exactly one of gpu or cpu"):
        rent(shop)
    assert len(created(api)) == 1


def test_a_rate_limit_is_waited_out_for_the_same_offer(api: PodApi, shop: Rental) -> None:
    api.script(CREATE, Answer(429, "", {"Retry-After": "7"}))
    assert rent(shop).gpu == "NVIDIA L4"
    assert 7.0 in shop.clock.pauses
    assert len({body["name"] for body in created(api)}) == 1


@pytest.mark.parametrize(
    "answer",
    [
        Answer(500, problem(500, "oops"), happens=True),
        Answer(502, "<html>Bad Gateway</html>", {"content-type": "text/html"}, happens=True),
        Answer(201, '{"id": "po', happens=True),
        Answer(201, happens=True, cut=True),
    ],
    ids=["500", "html 502", "truncated JSON", "cut connection"],
)
def test_a_pod_that_was_made_in_spite_of_the_answer_is_found_by_its_name(
    api: PodApi, shop: Rental, answer: Answer
) -> None:
    api.script(CREATE, answer)
    machine = rent(shop)
    assert len(created(api)) == 1
    assert list(api.pods) == [machine.id]
    assert shop.outcomes() == ["created"]


def test_a_broken_call_that_made_nothing_leaves_its_intent_and_tries_the_next(
    api: PodApi, shop: Rental
) -> None:
    api.script(CREATE, Answer(500, problem(500, "oops")))
    machine = rent(shop)
    assert machine.gpu == "NVIDIA GeForce RTX 4090"
    assert len(shop.state.unresolved()) == 1
    assert any("did not appear" in text for text in shop.report.said("warn"))


def test_when_nobody_can_tell_whether_it_was_made_that_is_said(api: PodApi, shop: Rental) -> None:
    api.script(CREATE, Answer(500, happens=True, body="{}"))
    api.script("GET /v2/pods?", *[Answer(503, "")] * 200)
    with pytest.raises(StillBilling, match="is unknown") as caught:
        rent(shop)
    assert caught.value.exit_code == 9
    assert [intent.name for intent in shop.state.unresolved()] == [caught.value.details["name"]]


def test_a_billed_rate_above_the_limit_ends_the_machine_and_tries_the_next(
    api: PodApi, shop: Rental
) -> None:
    api.next_pod = {"cost": 9.99}
    with pytest.raises(BudgetRefused, match=r"\$9\.99/h, above the limit of \$1\.00/h"):
        rent(shop, max_price_usd_h=1.0)
    assert len(created(api)) == 3
    assert api.pods == {}
    assert shop.outcomes() == ["terminated"] * 3


def test_a_machine_that_never_boots_shows_its_log_and_is_ended(api: PodApi, shop: Rental) -> None:
    api.next_pod = {"status": "STARTING"}
    with pytest.raises(TimedOut) as caught:
        rent(shop, gpus=("L4",), boot_limit_s=600)
    assert caught.value.exit_code == 7
    assert "  system log: pulling image layer 3/9" in shop.report.said("note")
    assert api.pods == {}
    assert shop.outcomes() == ["terminated"]


def test_a_dear_machine_is_given_up_when_its_boot_has_cost_the_limit(
    api: PodApi, shop: Rental
) -> None:
    api.next_pod = {"status": "STARTING"}
    began = shop.clock.now()
    with pytest.raises(TimedOut):
        rent(shop, gpus=("L4",), boot_limit_s=3000, boot_limit_usd=0.01)
    rate_usd_h = 0.39
    assert shop.clock.now() - began < 2 * 0.01 / rate_usd_h * 3600
    assert api.pods == {}


def test_a_machine_without_an_address_is_given_up_before_the_boot_limit(
    api: PodApi, shop: Rental
) -> None:
    api.next_pod = {"ssh": {"direct": None, "proxy": None}}
    began = shop.clock.now()
    with pytest.raises(TimedOut, match="no public ssh address"):
        rent(shop, gpus=("L4",), boot_limit_s=6000)
    assert shop.clock.now() - began < 300
    assert api.pods == {}


def test_a_machine_that_dies_while_it_starts_is_not_waited_for(api: PodApi, shop: Rental) -> None:
    api.next_pod = {"status": "ERROR"}
    began = shop.clock.now()
    with pytest.raises(TimedOut, match="went ERROR"):
        rent(shop)
    assert shop.clock.now() - began < 60
    assert len(created(api)) == 3
    assert api.pods == {}


def test_the_probe_is_tried_until_it_is_content(shop: Rental) -> None:
    attempts: list[str] = []

    def probe(machine: Machine) -> None:
        attempts.append(str(machine.address))
        if len(attempts) < 4:
            raise ConnectionFailed("connection refused")

    rent(shop, probe)
    assert attempts == ["root@127.0.0.1:22022"] * 4


def test_a_refused_key_is_given_a_minute_and_then_the_machine_is_ended(
    api: PodApi, shop: Rental
) -> None:
    def probe(machine: Machine) -> None:
        raise CredentialsError("the key was refused")

    began = shop.clock.now()
    with pytest.raises(CredentialsError):
        rent(shop, probe)
    assert 60 <= shop.clock.now() - began < 120
    assert len(created(api)) == 1
    assert api.pods == {}


def test_a_provider_that_stumbles_while_it_boots_is_asked_again(api: PodApi, shop: Rental) -> None:
    api.script("GET /v2/pods/", *[Answer(502, "<html>")] * 7)
    assert rent(shop).status == "RUNNING"


def test_ctrl_c_while_it_boots_ends_the_machine(api: PodApi, shop: Rental) -> None:
    def probe(machine: Machine) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        rent(shop, probe)
    assert api.pods == {}
    assert shop.outcomes() == ["terminated"]


def test_ctrl_c_during_the_create_call_lets_it_finish_and_rolls_it_back(
    api: PodApi, shop: Rental
) -> None:
    take = api.take

    def interrupt(method: str, path: str) -> Answer | None:
        if method == "POST":
            os.kill(os.getpid(), signal.SIGINT)
        return take(method, path)

    api.take = interrupt  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        rent(shop)
    assert len(created(api)) == 1
    assert api.pods == {}
    assert shop.outcomes() == ["terminated"]


def test_a_second_ctrl_c_stops_at_once_and_says_that_it_may_exist(
    api: PodApi, shop: Rental
) -> None:
    take = api.take

    def interrupt_twice(method: str, path: str) -> Answer | None:
        if method == "POST":
            os.kill(os.getpid(), signal.SIGINT)
            until(lambda: any("Ctrl-C again" in text for text in shop.report.said("note")))
            os.kill(os.getpid(), signal.SIGINT)
            until(lambda: left)
        return take(method, path)

    left: list[str] = []
    api.take = interrupt_twice  # type: ignore[method-assign]
    with pytest.raises(StillBilling, match="may exist") as caught:
        rent(shop)
    left.append("the caller")
    assert [intent.name for intent in shop.state.unresolved()] == [caught.value.details["name"]]


def test_a_slow_start_says_what_the_system_does(api: PodApi, shop: Rental) -> None:
    api.next_pod = {"status": "STARTING"}
    with pytest.raises(TimedOut):
        rent(shop, gpus=("L4",), boot_limit_s=60)
    last = shop.report.said("step")[-2]
    assert re.search(r": starting, \d+ s, \$0\.00\d so far · pulling image layer 3/9$", last)


def test_a_machine_that_cannot_be_ended_is_named_as_still_billing(
    api: PodApi, shop: Rental
) -> None:
    api.next_pod = {"status": "ERROR"}
    api.script("DELETE /v2/pods", *[Answer(500, problem(500, "oops"))] * 500)
    with pytest.raises(StillBilling) as caught:
        rent(shop)
    assert caught.value.details["machine"] == "pod1"
    assert "$0.39/h" in caught.value.message
    assert caught.value.hint is not None
    assert "gpuctl terminate pod1" in caught.value.hint
    assert shop.state.machine("pod1") is not None


def test_a_network_volume_decides_the_place(api: PodApi, shop: Rental) -> None:
    with pytest.raises(NoCapacity, match="EU-RO-1"):
        plan(shop.session, an_order(volume_id="vol1"))
    with pytest.raises(UsageError, match="vol1 is in EU-RO-1"):
        plan(shop.session, an_order(volume_id="vol1", data_centers=("US-TX-3",)))
    with pytest.raises(UsageError, match="community"):
        plan(shop.session, an_order(volume_id="vol1", cloud="community"))


def test_a_preview_bills_nothing_and_is_the_exact_body(api: PodApi, shop: Rental) -> None:
    chosen = plan(shop.session, an_order(env={"A": "b=c"}))
    body = preview(shop.session, chosen)
    assert api.calls("POST") == []
    assert not shop.state.path.exists()
    deploy(shop.session, chosen)
    sent = created(api)[0]
    assert {**sent, "name": ""} == {**body, "name": ""}
    assert sent["env"].pop("GPUCTL_WORKLOAD") == "flux"
    assert sent["env"] == {"A": "b=c", "PUBLIC_KEY": "ssh-ed25519 A"}
