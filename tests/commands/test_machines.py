"""gpuctl deploy, status, start, stop, terminate, gpus: against the simulator, as typed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gpuctl import __version__
from gpuctl.cli import main
from gpuctl.sim.launcher import Simulator, add_fault, clear_faults, status
from tests.support.simulator import running_simulator


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def shared(folder: Path) -> Iterator[Simulator]:
    with running_simulator(folder / "gpuctl/sim") as found:
        yield found


@pytest.fixture
def simulator(
    shared: Simulator, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Simulator]:
    """Every pod and fault a test made is gone after it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    monkeypatch.setenv("GPUCTL_DEPLOY__CANARY", "false")
    yield shared
    clear_faults(shared)
    names = [pod["name"] for pod in pods(shared)]
    if names:
        assert main(["--sim", "-q", "--yes", "terminate", *names]) == 0


def pods(simulator: Simulator) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = status(simulator)["pods"]
    return found


@pytest.fixture
def gpuctl(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs one command line with --json and gives its exit code and envelope."""

    def run(*argv: str) -> tuple[int, Any]:
        code = main(["--sim", "--json", *argv])
        return code, json.loads(capsys.readouterr().out)

    return run


def test_a_machine_lives_its_whole_life_by_commands(simulator: Simulator, gpuctl: Any) -> None:
    code, made = gpuctl("deploy")
    assert (code, made["changed"]) == (0, True)
    machine = made["data"]["machine"]
    assert machine["status"] == "RUNNING"
    assert machine["ssh"].startswith("root@127.0.0.1:")
    _, listed = gpuctl("status")
    assert [(item["id"], item["ours"]) for item in listed["data"]["machines"]] == [
        (machine["id"], True)
    ]
    assert listed["data"]["usd_h"] == machine["price_usd_h"]
    _, stopped = gpuctl("stop", "flux")
    assert (stopped["data"]["machine"]["status"], stopped["changed"]) == ("EXITED", True)
    assert gpuctl("stop", "flux")[1]["changed"] is False
    _, started = gpuctl("start", "flux")
    assert (started["data"]["machine"]["status"], started["changed"]) == ("RUNNING", True)
    code, ended = gpuctl("terminate", machine["name"], "--yes")
    assert (code, ended["data"]["terminated"]) == (0, [machine["id"]])
    code, again = gpuctl("terminate", machine["name"], "--yes")
    assert (code, again["changed"]) == (0, False)
    assert again["data"]["already_gone"] == [machine["name"]]
    assert pods(simulator) == []


def test_a_second_deploy_uses_the_machine_that_is_there(simulator: Simulator, gpuctl: Any) -> None:
    _, first = gpuctl("deploy")
    code, second = gpuctl("deploy")
    assert (code, second["changed"]) == (0, False)
    assert second["data"]["machine"]["id"] == first["data"]["machine"]["id"]
    assert len(pods(simulator)) == 1


def test_replacing_rents_the_new_one_before_it_ends_the_old_one(
    simulator: Simulator, gpuctl: Any
) -> None:
    _, first = gpuctl("deploy")
    code, refused = gpuctl("deploy", "--replace")
    assert (code, refused["error"]["hint"]) == (2, "say it with --yes")
    code, second = gpuctl("deploy", "--replace", "--yes")
    assert code == 0
    assert second["data"]["machine"]["id"] != first["data"]["machine"]["id"]
    assert [pod["id"] for pod in pods(simulator)] == [second["data"]["machine"]["id"]]


def test_a_dry_run_shows_price_and_body_and_rents_nothing(
    simulator: Simulator, gpuctl: Any
) -> None:
    code, shown = gpuctl(
        "deploy", "--dry-run", "--gpu", "4090", "--cloud", "any", "--env", "A=b=c", "--env",
        "MY_TOKEN=hush", "--max-price", "0.5",
    )  # fmt: skip
    assert code == 0
    assert shown["changed"] is False
    [offer] = shown["data"]["candidates"]
    assert (offer["cloud"], offer["price_usd_h"]) == ("COMMUNITY", 0.34)
    body = shown["data"]["body"]
    assert body["gpu"]["id"] == "NVIDIA GeForce RTX 4090"
    assert body["env"]["A"] == "b=c"
    assert body["env"]["MY_TOKEN"] == "***"
    assert pods(simulator) == []


def test_the_configuration_is_shown_before_anything_is_rented(
    simulator: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    add_fault(simulator, "insufficient-funds")
    assert main(["--sim", "deploy", "--gpu", "L4"]) == 6
    said = capsys.readouterr().err
    assert "image     runpod/pytorch:" in said
    assert "price     $0.39/h; never above $2.00/h" in said
    assert said.index("renting for flux") < said.index("asking for L4 (secure) at $0.39/h")


@pytest.mark.parametrize(
    ("kind", "code"), [("insufficient-funds", 6), ("no-capacity", 0), ("create-500", 0)]
)
def test_faults_of_the_cloud_end_in_one_machine_or_none(
    simulator: Simulator, gpuctl: Any, kind: str, code: int
) -> None:
    add_fault(simulator, kind)
    assert gpuctl("deploy")[0] == code
    assert len(pods(simulator)) == (1 if code == 0 else 0)


def test_when_every_offer_is_out_of_capacity_the_exit_code_says_so(
    simulator: Simulator, gpuctl: Any
) -> None:
    add_fault(simulator, "no-capacity", times=50)
    code, answer = gpuctl("deploy")
    assert (code, answer["error"]["code"]) == (5, "no_capacity")
    assert len(answer["error"]["details"]["tried"]) > 1


def test_a_machine_that_is_not_up_by_the_boot_limit_is_gone(
    simulator: Simulator, gpuctl: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow (a second): the limit is real time."""
    monkeypatch.setenv("GPUCTL_RUNPOD__BOOT_LIMIT_S", "1")
    add_fault(simulator, "slow-start", value="60")
    code, answer = gpuctl("deploy", "--gpu", "L4")
    assert (code, answer["error"]["code"]) == (7, "timed_out")
    assert pods(simulator) == []


def test_a_machine_whose_gpu_was_taken_is_stopped_again(simulator: Simulator, gpuctl: Any) -> None:
    gpuctl("deploy")
    gpuctl("stop")
    add_fault(simulator, "gpu-gone")
    assert gpuctl("start")[0] == 5
    assert [pod["status"] for pod in pods(simulator)] == ["EXITED"]


@pytest.mark.parametrize(
    "argv",
    [
        ("deploy", "--env", "NOEQUALS"),
        ("deploy", "--env", "1X=2"),
        ("deploy", "--cloud", "moon"),
        ("deploy", "--gpu", "RTX 9999"),
        ("deploy", "nonsense"),
    ],
    ids=lambda argv: " ".join(argv),
)
def test_what_cannot_be_meant_is_refused_before_anything_is_asked(
    simulator: Simulator, gpuctl: Any, argv: tuple[str, ...]
) -> None:
    code, answer = gpuctl(*argv)
    assert (code, answer["error"]["code"]) == (2, "usage")
    assert pods(simulator) == []


def test_the_price_limit_holds(simulator: Simulator, gpuctl: Any) -> None:
    code, answer = gpuctl("deploy", "--max-price", "0.01")
    assert (code, answer["error"]["code"]) == (6, "budget")


def test_nothing_is_ended_without_a_yes(simulator: Simulator, gpuctl: Any) -> None:
    gpuctl("deploy")
    assert gpuctl("terminate", "flux")[0] == 2
    assert len(pods(simulator)) == 1


def test_gpus_are_listed_cheapest_first(simulator: Simulator, gpuctl: Any) -> None:
    _, answer = gpuctl("gpus", "--min-vram", "40", "--cloud", "any")
    prices = [offer["price_usd_h"] for offer in answer["data"]["offers"]]
    assert prices == sorted(prices)
    assert all(offer["vram_gb"] >= 40 for offer in answer["data"]["offers"])
    assert gpuctl("gpus", "--min-vram", "4000")[1]["data"]["offers"] == []


def test_without_a_key_the_cloud_is_not_asked(
    gpuctl: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--json", "status"]) == 4
    answer = json.loads(capsys.readouterr().out)
    assert "RUNPOD_API_KEY" in answer["error"]["hint"]


def test_a_slim_image_is_the_one_that_is_configured_else_our_own(
    simulator: Simulator, gpuctl: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, shown = gpuctl("deploy", "--slim", "--dry-run")
    assert shown["data"]["body"]["image"] == f"simulated/gpuctl-flux:{__version__}-slim"
    monkeypatch.setenv("GPUCTL_FLUX__IMAGE_SLIM", "me/flux:slim")
    _, shown = gpuctl("deploy", "--slim", "--dry-run")
    assert shown["data"]["body"]["image"] == "me/flux:slim"
    assert gpuctl("deploy", "--slim", "--image", "other", "--dry-run")[0] == 2
