"""Leases as typed, on simulated pods whose watchdogs live 300 times as fast as we do."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gpuctl.cli import main
from gpuctl.services import ssh_identity
from gpuctl.services.targets import short_name
from gpuctl.sim.launcher import Simulator, add_fault, clear_faults, status
from tests.support.pod_api import Answer, pod_api
from tests.support.simulator import running_simulator, until

# Five minutes of the machine's are one second of ours.
FACTOR = 300
WRONG_KEY = ("--env", "RUNPOD_API_KEY=rpa_wrong")

Run = Callable[..., tuple[int, Any]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def shared(folder: Path) -> Iterator[Simulator]:
    settings = {"GPUCTL_WATCHDOG_CLOCK_FACTOR": str(FACTOR), "GPUCTL_SIM_STEP_S": "0.05"}
    with running_simulator(folder / "gpuctl/sim", **settings) as found:
        yield found


@pytest.fixture
def simulator(
    shared: Simulator, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Simulator]:
    """Every pod and fault a test made is gone after it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    monkeypatch.setenv("GPUCTL_DEPLOY__CANARY", "false")
    monkeypatch.setenv("GPUCTL_LEASE__BOOT_GRACE", "30s")
    yield shared
    clear_faults(shared)
    if names := [pod["name"] for pod in pods(shared)]:
        assert main(["--sim", "-q", "--yes", "terminate", "--discard", *names]) == 0


def pods(simulator: Simulator) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = status(simulator)["pods"]
    return found


@pytest.fixture
def gpuctl(simulator: Simulator, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs one command line with --json and gives its exit code and envelope."""

    def run(*argv: str) -> tuple[int, Any]:
        code = main(["--sim", "--json", *argv])
        return code, json.loads(capsys.readouterr().out)

    return run


def deployed(gpuctl: Run, *argv: str) -> dict[str, Any]:
    code, answer = gpuctl("deploy", "--gpu", "L4", *argv)
    assert code == 0, answer
    machine: dict[str, Any] = answer["data"]["machine"]
    return machine


def shown(gpuctl: Run) -> dict[str, Any]:
    """The one lease there is, with its killers read back."""
    code, answer = gpuctl("lease", "show")
    assert code == 0
    [lease] = answer["data"]["leases"]
    found: dict[str, Any] = lease
    return found


def killer(lease: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(k for k in lease["killers"] if k["name"] == name)
    return found


def own_file(simulator: Simulator, pod_id: str, name: str) -> Path:
    """A file of the watchdog, where it lies in the pod's workspace."""
    return simulator.folder / "pods" / pod_id / "workspace/.gpuctl/watchdog" / pod_id / name


def told(simulator: Simulator, pod_id: str) -> dict[str, Any]:
    """What the watchdog wrote last, without asking anybody."""
    found: dict[str, Any] = json.loads(own_file(simulator, pod_id, "status.json").read_text())
    return found


def test_when_the_laptop_is_gone_the_pod_ends_itself_at_its_deadline(
    simulator: Simulator, gpuctl: Run
) -> None:
    deployed(gpuctl, "--ttl", "4m")
    until(lambda: pods(simulator) == [])


def test_a_refused_end_is_asked_for_again_until_it_is_done(
    simulator: Simulator, gpuctl: Run
) -> None:
    add_fault(simulator, "server-error", times=4, value="/action")
    machine = deployed(gpuctl, "--ttl", "4m")
    until(lambda: "was refused" in own_file(simulator, machine["id"], "log").read_text())
    until(lambda: pods(simulator) == [])
    assert status(simulator)["faults"] == []


def test_a_pod_that_idles_is_stopped_and_keeps_its_volume(
    simulator: Simulator, gpuctl: Run
) -> None:
    machine = deployed(gpuctl, "--ttl", "1d", "--idle-stop", "3m")
    until(lambda: [pod["status"] for pod in pods(simulator)] == ["EXITED"])
    code, answer = gpuctl("reap")
    assert code == 0
    [verdict] = answer["data"]["machines"]
    assert verdict["deed"] == "kept"
    assert verdict["why"].startswith("stopped; its volume costs $0.0")
    assert own_file(simulator, machine["id"], "lease.json").exists()


def test_a_running_job_holds_off_the_idle_stop_and_nothing_else_does_afterwards(
    simulator: Simulator, gpuctl: Run
) -> None:
    machine = deployed(gpuctl, "--ttl", "1d", "--idle-stop", "3m")
    code, sent = gpuctl("flux", "a slow ship", "--size", "64x64", "--steps", "40", "--detach")
    assert code == 0
    job = simulator.folder / "pods" / machine["id"] / "workspace/jobs" / sent["data"]["job"]
    until(lambda: told(simulator, machine["id"])["holding"] != [])
    until(lambda: [pod["status"] for pod in pods(simulator)] == ["EXITED"])
    kinds = [json.loads(line)["event"] for line in (job / "events.ndjson").read_text().splitlines()]
    assert kinds[-1] == "done", "it was stopped after the job, which took 600 of its seconds"


def test_a_watchdog_whose_key_is_refused_is_not_armed_and_status_says_why(
    gpuctl: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    deployed(gpuctl, *WRONG_KEY)
    _, answer = gpuctl("status")
    [machine] = answer["data"]["machines"]
    watchdog = killer(machine["lease"], "watchdog")
    assert watchdog["armed"] is False
    assert "does not take the machine's key: answered 401" in watchdog["why"]
    assert main(["--sim", "status"]) == 0
    said = capsys.readouterr().out
    assert "✗0/2" in said
    assert "the watchdog would not end it" in said


def test_an_armed_watchdog_is_believed_only_after_it_was_read_back(
    simulator: Simulator, gpuctl: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    machine = deployed(gpuctl)
    lease = shown(gpuctl)
    watchdog = killer(lease, "watchdog")
    assert watchdog["armed"] is True
    assert watchdog["said"]["key"] == "accepted (v2)"
    assert killer(lease, "reaper")["why"] == "no timer calls it; gpuctl reap --install"
    os.kill(watchdog["said"]["pid"], 9)
    again = killer(shown(gpuctl), "watchdog")
    assert again["armed"] is True, "one that died is started again by whoever looks"
    assert again["said"]["pid"] != watchdog["said"]["pid"]
    assert main(["--sim", "status", "--fast"]) == 0
    fast = capsys.readouterr().out
    assert "/2" not in fast, "who was not asked is not counted"
    assert short_name(machine["name"]) in fast


def test_extending_moves_the_deadline_of_a_machine_that_runs(
    simulator: Simulator, gpuctl: Run
) -> None:
    machine = deployed(gpuctl, "--ttl", "15m")
    code, answer = gpuctl("lease", "extend", "10h")
    assert (code, answer["changed"]) == (0, True)
    watchdog = killer(answer["data"], "watchdog")
    assert watchdog["armed"] is True
    assert watchdog["said"]["remaining_s"] > 9.9 * 3600
    # 15 of its minutes later it is still there.
    until(lambda: told(simulator, machine["id"])["remaining_s"] < 10 * 3600)
    assert [pod["status"] for pod in pods(simulator)] == ["RUNNING"]


def test_a_start_after_a_stop_is_not_ended_by_the_deadline_from_before(
    simulator: Simulator, gpuctl: Run
) -> None:
    machine = deployed(gpuctl, "--ttl", "1d")
    assert gpuctl("stop")[0] == 0
    stale = own_file(simulator, machine["id"], "lease.json")
    before = json.loads(stale.read_text())
    stale.write_text(json.dumps({**before, "drain_in_s": -1.0, "end_in_s": -1.0}))
    assert gpuctl("start")[0] == 0
    watchdog = killer(shown(gpuctl), "watchdog")
    assert watchdog["armed"] is True
    assert watchdog["said"]["serial"] > before["serial"]
    assert watchdog["said"]["remaining_s"] > 23 * 3600
    assert [pod["status"] for pod in pods(simulator)] == ["RUNNING"]


def test_a_machine_that_was_not_waited_for_is_armed_by_the_first_who_looks(
    simulator: Simulator, gpuctl: Run
) -> None:
    deployed(gpuctl, "--no-wait")
    until(lambda: [pod["status"] for pod in pods(simulator)] == ["RUNNING"])
    assert killer(shown(gpuctl), "watchdog")["armed"] is True


def test_reap_ends_what_is_past_its_deadline_and_says_nine_when_it_could_not_ask(
    simulator: Simulator, gpuctl: Run
) -> None:
    deployed(gpuctl, "--ttl", "1s", *WRONG_KEY)
    add_fault(simulator, "html-502", times=100)
    code, answer = gpuctl("reap")
    assert (code, answer["ok"]) == (9, False)
    assert answer["data"]["unknown"]
    clear_faults(simulator)

    def ended() -> bool:
        code, answer = gpuctl("reap")
        assert code == 0
        return [verdict["deed"] for verdict in answer["data"]["machines"]] == ["ended"]

    until(ended)
    assert pods(simulator) == []


def test_a_dry_run_of_reap_ends_nothing(simulator: Simulator, gpuctl: Run) -> None:
    deployed(gpuctl, "--ttl", "1s", *WRONG_KEY)
    until(lambda: "would be ended" in str(gpuctl("--dry-run", "reap")[1]))
    assert len(pods(simulator)) == 1


def test_no_lease_needs_a_reason_and_keeps_it(simulator: Simulator, gpuctl: Run) -> None:
    code, refused = gpuctl("deploy", "--no-lease")
    assert (code, refused["error"]["code"]) == (2, "usage")
    assert gpuctl("deploy", "--no-lease", "--reason", "x", "--ttl", "1h")[0] == 2
    deployed(gpuctl, "--no-lease", "--reason", "a week of training")
    lease = shown(gpuctl)
    assert (lease["has_lease"], lease["reason"]) == (False, "a week of training")
    assert lease["killers"] == []


@pytest.mark.parametrize("argv", [("--ttl", "soon"), ("--idle-stop", "0s"), ("--budget", "-1")])
def test_limits_that_cannot_be_meant_are_refused_before_anything_is_rented(
    simulator: Simulator, gpuctl: Run, argv: tuple[str, ...]
) -> None:
    code, answer = gpuctl("deploy", *argv)
    assert (code, answer["error"]["code"]) == (2, "usage")
    assert pods(simulator) == []


def test_a_budget_too_small_to_boot_on_is_refused(simulator: Simulator, gpuctl: Run) -> None:
    code, answer = gpuctl("deploy", "--gpu", "L4", "--budget", "0.02")
    assert (code, answer["error"]["code"]) == (6, "budget")
    assert pods(simulator) == []


def test_a_budget_is_a_deadline_and_a_higher_one_moves_it(
    simulator: Simulator, gpuctl: Run
) -> None:
    deployed(gpuctl, "--budget", "0.2")
    lease = shown(gpuctl)
    assert lease["budget_usd"] == 0.2
    seconds_for_the_budget = 0.2 * 0.95 / lease["rate_usd_h"] * 3600
    assert lease["remaining_s"] == pytest.approx(seconds_for_the_budget, rel=0.05)
    code, answer = gpuctl("lease", "extend", "--budget", "9")
    assert code == 0
    assert answer["data"]["remaining_s"] == pytest.approx(4 * 3600, rel=0.01), "the TTL is next"


def test_a_budget_above_the_accounts_balance_is_refused_before_anything_is_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pod_api() as api:
        monkeypatch.setenv("RUNPOD_API_KEY", "rpa_0123456789")
        monkeypatch.setenv("GPUCTL_RUNPOD__API_URL", api.url)
        monkeypatch.setenv("GPUCTL_RUNPOD__GRAPHQL_URL", f"{api.url}/graphql")
        told = {"data": {"myself": {"clientBalance": 5.0}}}
        api.script("POST /v2/graphql", Answer(200, json.dumps(told)), Answer(500, "gone"))
        key = Path("id_ed25519")
        ssh_identity.own_key(key)
        monkeypatch.setenv("SSH_KEY", str(key))
        assert main(["--json", "deploy", "--gpu", "L4", "--budget", "6"]) == 6
        assert "holds $5.00" in json.loads(capsys.readouterr().out)["error"]["message"]
        assert api.pods == {}
        assert main(["--json", "deploy", "--gpu", "L4", "--budget", "6", "--dry-run"]) == 0


def test_a_restart_arms_the_watchdog_again(simulator: Simulator, gpuctl: Run) -> None:
    machine = deployed(gpuctl)
    before = told(simulator, machine["id"])
    assert gpuctl("restart")[0] == 0
    after = told(simulator, machine["id"])
    assert after["armed"] is True
    assert after["pid"] != before["pid"]
    os.kill(after["pid"], 0)


def test_the_terms_are_shown_before_anything_is_rented(gpuctl: Run) -> None:
    _, answer = gpuctl("deploy", "--dry-run", "--ttl", "90m", "--idle-stop", "20m", "--budget", "3")
    lease = answer["data"]["lease"]
    assert (lease["ttl_s"], lease["idle_stop_s"], lease["budget_usd"]) == (5400, 1200, 3)
