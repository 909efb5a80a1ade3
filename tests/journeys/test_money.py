"""What bills, what was spent, and its end, as a person at a terminal sees it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from gpuctl.sim import launcher
from tests.journeys.conftest import Done, Person
from tests.sim.test_money import ENDPOINT
from tests.support.simulator import FAST, api_client, order
from tests.support.typist import Typist


@pytest.fixture
def typist(person: Person, monkeypatch: pytest.MonkeyPatch) -> Typist:
    for name, value in person.environ.items():
        monkeypatch.setenv(name, value)
    launcher.ensure(person.sim_folder, settings=FAST)
    return Typist()


@pytest.fixture
def account(person: Person, typist: Typist) -> Iterator[httpx.Client]:
    """The same simulated account, from elsewhere."""
    with api_client(launcher.ensure(person.sim_folder)) as client:
        yield client


@contextmanager
def broken(typist: Typist, path: str) -> Iterator[None]:
    """Everything under that path fails, for good."""
    asked = ("sim", "fault", "server-error", "--value", path, "--times", "50")
    assert typist.simulates(*asked).code == 0
    yield
    assert typist.simulates("sim", "fault", "--clear").code == 0


def unknown(done: Done) -> dict[str, Any]:
    """The data of a command that ended with "unknown, or still billing: act"."""
    assert done.code == 9, done.stderr + done.stdout
    data: dict[str, Any] = done.envelope["data"]
    return data


def test_everything_that_bills_is_listed_with_whose_it_is_and_what_it_costs(
    typist: Typist, account: httpx.Client
) -> None:
    assert typist.simulates("deploy", "--gpu", "L4").code == 0
    volume = typist.simulates(
        "volumes", "create", "models", "--size", "100", "--dc", "EU-RO-1", "--yes"
    ).data["volume"]
    account.post("/pods", json=order("gpuctl-sd-01forgotten"))
    account.post("/pods", json=order("somebody-elses"))
    account.post("/serverless", json=ENDPOINT)
    data = typist.simulates("resources").data
    by_name = {row["name"]: row for row in data["resources"]}
    [ours] = [row for name, row in by_name.items() if name.startswith("gpuctl-flux-")]
    assert (ours["class"], ours["kind"]) == ("ours-running", "pod")
    assert ours["usd_h"] == pytest.approx(0.39 + 110 * 0.10 / 730)
    forgotten = by_name["gpuctl-sd-01forgotten"]
    assert forgotten["class"] == "ours-forgotten"
    assert forgotten["reason"] == "it has no lease: nothing will end it"
    assert by_name["somebody-elses"]["class"] == "not-ours"
    assert by_name["gpuctl-tts-1"]["usd_h"] == pytest.approx(2 * 0.69 * 1.6, abs=0.01)
    assert by_name["models"]["usd_month"] == pytest.approx(7.0)
    assert by_name["models"]["id"] == volume["id"]
    assert data["complete"] is True
    assert data["totals"]["all"]["usd_h"] == pytest.approx(
        sum(row["usd_h"] for row in data["resources"]), abs=1e-5
    )
    only = typist.simulates("resources", "--ours").data
    assert {row["class"] for row in only["resources"]} == {"ours-running", "ours-forgotten"}


def test_who_could_not_be_asked_is_named_and_is_no_all_clear(
    typist: Typist, account: httpx.Client
) -> None:
    with broken(typist, "network-volumes"):
        data = unknown(typist.simulates("resources"))
        assert list(data["unasked"]) == ["RunPod volumes"]
        assert data["complete"] is False
        done = typist.types("--sim", "resources")
    assert done.code == 9
    assert "RunPod volumes: unknown, could not be asked: RunPod answered 500" in done.stdout
    assert "nothing bills" not in done.stdout
    assert "nothing bills" in typist.types("--sim", "resources").stdout


def test_a_stopped_machine_is_listed_with_the_price_of_its_storage(typist: Typist) -> None:
    assert typist.simulates("deploy", "--gpu", "L4").code == 0
    assert typist.simulates("stop").code == 0
    [row] = typist.simulates("resources").data["resources"]
    assert (row["status"], row["is_running"]) == ("EXITED", False)
    assert row["usd_month"] == pytest.approx(80 * 0.20)


def test_what_was_billed_stands_beside_our_own_records(typist: Typist) -> None:
    assert typist.simulates("flux", "a red fox", "--size", "64x64").code == 0
    [machine] = typist.simulates("status").data["machines"]
    data = typist.simulates("cost", "--since", "1h").data
    [row] = data["rows"]
    assert (row["key"], row["workload"]) == (machine["id"], "flux")
    assert row["billed"] == pytest.approx(row["estimated"], rel=0.5)
    assert row["artifacts"] == 1
    assert row["usd_each"] > row["jobs_usd"] > 0
    assert data["billed_usd"] == pytest.approx(row["billed"], abs=1e-6)
    [by_workload] = typist.simulates("cost", "--by", "workload").data["rows"]
    assert by_workload["key"] == "flux"
    days = typist.simulates("cost", "--by", "day").data["rows"]
    assert sum(day["artifacts"] for day in days) == 1


def test_bills_that_cannot_be_read_leave_the_estimate_and_say_so(typist: Typist) -> None:
    assert typist.simulates("deploy", "--gpu", "L4").code == 0
    with broken(typist, "billing"):
        data = unknown(typist.simulates("cost", "--since", "1h"))
    assert data["billed_usd"] is None
    assert data["estimated_usd"] > 0
    assert sorted(data["unasked"]) == ["endpoint", "pod", "volume"]
    assert any("could not be read" in note for note in data["notes"])


def test_what_others_were_billed_for_is_told_apart(typist: Typist, account: httpx.Client) -> None:
    account.post("/pods", json=order("somebody-elses"))
    data = typist.simulates("cost", "--since", "1h").data
    assert [row["workload"] for row in data["rows"]] == ["not made by gpuctl"]
    assert any("things not in this journal" in note for note in data["notes"])


@pytest.mark.parametrize("argv", [("--since", "later"), ("--since", "2999-01-01"), ("--by", "cat")])
def test_a_question_that_makes_no_sense_is_a_usage_error(
    typist: Typist, argv: tuple[str, str]
) -> None:
    assert typist.simulates("cost", *argv).code == 2


def test_panic_ends_everything_of_ours_and_nothing_else(
    typist: Typist, account: httpx.Client
) -> None:
    assert typist.simulates("deploy", "--gpu", "L4").code == 0
    typist.simulates("volumes", "create", "models", "--size", "100", "--dc", "EU-RO-1", "--yes")
    account.post("/pods", json=order("gpuctl-sd-01forgotten"))
    account.post("/pods", json=order("somebody-elses"))
    account.post("/serverless", json=ENDPOINT)
    preview = typist.simulates("panic", "--dry-run").data["would_end"]
    assert sorted(row["kind"] for row in preview) == ["endpoint", "pod", "pod"]
    assert len(account.get("/pods").json()["pods"]) == 3
    assert typist.simulates("panic", "--yes").code == 2
    assert typist.simulates("panic", "--confirm=yes").code == 2
    assert len(account.get("/pods").json()["pods"]) == 3
    done = typist.simulates("panic", "--confirm=panic")
    assert [row["proof"] is not None for row in done.data["ended"]] == [True] * 3
    assert [row["name"] for row in done.data["storage"]] == ["models"]
    assert [pod["name"] for pod in account.get("/pods").json()["pods"]] == ["somebody-elses"]
    assert account.get("/serverless").json()["endpoints"] == []
    assert typist.simulates("panic", "--confirm=panic").data["ended"] == []


@pytest.mark.parametrize(("typed", "code", "left"), [("y\n", 2, 1), ("", 2, 1), ("panic\n", 0, 0)])
def test_panic_wants_the_word_typed_and_nothing_less(
    typist: Typist, account: httpx.Client, typed: str, code: int, left: int
) -> None:
    account.post("/pods", json=order("gpuctl-flux-01elsewhere"))
    done = typist.types("--sim", "panic", typed=typed)
    assert done.code == code
    assert "this will be ended:" in done.stderr
    assert len(account.get("/pods").json()["pods"]) == left


def test_a_machine_that_the_platform_stopped_is_not_estimated_as_running(
    typist: Typist,
) -> None:
    assert typist.simulates("deploy", "--gpu", "L4").code == 0
    assert typist.simulates("sim", "fault", "platform-stop").code == 0
    assert typist.simulates("status").code == 0
    first = typist.simulates("cost", "--since", "1h").data["estimated_usd"]
    again = typist.simulates("cost", "--since", "1h").data["estimated_usd"]
    assert 0 <= again - first < first / 2, "only its volume costs anything now"


def test_panic_needs_nothing_but_the_key(person: Person, account: httpx.Client) -> None:
    """Another computer, with an empty memory and the address and key of the account."""
    account.post("/pods", json=order("gpuctl-flux-01elsewhere"))
    simulator = launcher.running(person.sim_folder)
    assert simulator is not None
    stranger = Person(person.home)
    for name in ("STATE", "CACHE", "CONFIG"):
        stranger.environ[f"XDG_{name}_HOME"] = str(person.home / f"other-{name}")
    stranger.environ["RUNPOD_API_KEY"] = simulator.api_key.reveal()
    stranger.environ["GPUCTL_RUNPOD__API_URL"] = simulator.api_url
    done = stranger.types("--json", "panic", "--confirm=panic")
    assert [row["name"] for row in done.data["ended"]] == ["gpuctl-flux-01elsewhere"]
    assert account.get("/pods").json()["pods"] == []


def test_panic_that_could_not_ask_everybody_is_no_all_clear(
    typist: Typist, account: httpx.Client
) -> None:
    account.post("/pods", json=order("gpuctl-flux-01elsewhere"))
    with broken(typist, "serverless"):
        data = unknown(typist.simulates("panic", "--confirm=panic"))
    assert data["unasked"] == ["RunPod endpoints"]
    assert [row["name"] for row in data["ended"]] == ["gpuctl-flux-01elsewhere"]
    assert account.get("/pods").json()["pods"] == []


def test_a_volume_is_made_grown_and_deleted_with_its_price_in_sight(typist: Typist) -> None:
    make = ("volumes", "create", "models", "--size", "100", "--dc", "EU-RO-1")
    assert typist.simulates(*make, "--dry-run").data["usd_month"] == pytest.approx(7.0)
    assert typist.simulates(*make).code == 2, "it bills: somebody has to say yes"
    assert typist.simulates("volumes", "list").data["volumes"] == []
    made = typist.simulates(*make, "--yes").data["volume"]
    assert typist.simulates(*make, "--yes").code == 2, "the name is taken"
    assert typist.simulates("volumes", "resize", "models", "50", "--yes").code == 2
    grown = typist.simulates("volumes", "resize", made["id"], "1500", "--yes").data["volume"]
    assert grown["usd_month"] == pytest.approx(1000 * 0.07 + 500 * 0.05)
    assert typist.simulates("deploy", "--volume", made["id"]).code == 0
    refused = typist.simulates("volumes", "delete", "models", "--confirm=models")
    assert refused.code == 2
    assert "is mounted by gpuctl-flux-" in refused.error["message"]
    assert typist.simulates("terminate", "flux", "--yes").code == 0
    assert typist.simulates("volumes", "delete", "models", "--yes").code == 2
    assert typist.simulates("volumes", "delete", "models", "--confirm=modles").code == 2
    assert typist.simulates("volumes", "delete", "models", "--confirm=models").code == 0
    assert typist.simulates("volumes", "list").data["volumes"] == []


@pytest.mark.parametrize(
    "argv", [("--size", "5", "--dc", "EU-RO-1"), ("--size", "50", "--dc", "MOON-1")]
)
def test_a_volume_that_cannot_be_is_refused_before_it_is_asked_for(
    typist: Typist, argv: tuple[str, ...]
) -> None:
    assert typist.simulates("volumes", "create", "models", *argv, "--yes").code == 2


def test_places_and_cards_can_be_looked_through(typist: Typist) -> None:
    everywhere = typist.simulates("datacenters").data["datacenters"]
    assert len(everywhere) == 8
    some = typist.simulates("datacenters", "--gpu", "4090", "--volumes").data["datacenters"]
    assert [place["id"] for place in some] == ["EU-RO-1", "EUR-IS-1", "US-TX-3"]
    assert all(list(place["stock"]) == ["RTX 4090"] for place in some)
    by_memory = typist.simulates("gpus", "--sort", "vram").data["offers"]
    assert by_memory[0]["vram_gb"] == max(offer["vram_gb"] for offer in by_memory)
    by_value = typist.simulates("gpus", "--sort", "value", "--min-vram", "40").data["offers"]
    worth = [offer["price_usd_h"] / offer["vram_gb"] for offer in by_value]
    assert worth == sorted(worth)
    assert typist.simulates("gpus", "--sort", "beauty").code == 2
