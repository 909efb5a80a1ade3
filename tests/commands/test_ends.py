"""Before a machine ends: its finished work comes home, and a loss needs more than a --yes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from gpuctl.cli import main
from gpuctl.sim.launcher import Simulator, status
from tests.support.simulator import running_simulator, until
from tests.support.timers import fake_timers

Run = Callable[..., tuple[int, Any]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def shared(folder: Path) -> Iterator[Simulator]:
    with running_simulator(folder / "gpuctl/sim", GPUCTL_SIM_STEP_S="0.02") as found:
        yield found


@pytest.fixture
def simulator(
    shared: Simulator, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Simulator]:
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    monkeypatch.setenv("GPUCTL_DEPLOY__CANARY", "false")
    monkeypatch.setenv("GPUCTL_SSH__CONNECT_TIMEOUT_S", "2")
    yield shared
    if names := [pod["name"] for pod in status(shared)["pods"]]:
        assert main(["--sim", "-q", "--yes", "terminate", "--discard", *names]) == 0


@pytest.fixture
def gpuctl(simulator: Simulator, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*argv: str) -> tuple[int, Any]:
        code = main(["--sim", "--json", *argv])
        return code, json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def pod(simulator: Simulator, gpuctl: Run) -> dict[str, Any]:
    code, answer = gpuctl("deploy", "--gpu", "L4")
    assert code == 0
    machine: dict[str, Any] = answer["data"]["machine"]
    return machine


def pods(simulator: Simulator) -> list[str]:
    return [pod["status"] for pod in status(simulator)["pods"]]


def events_of(simulator: Simulator, pod: dict[str, Any], job: str) -> list[str]:
    file = simulator.folder / "pods" / pod["id"] / "workspace/jobs" / job / "events.ndjson"
    lines = file.read_text().splitlines() if file.exists() else []
    return [json.loads(line)["event"] for line in lines]


def painted_away(simulator: Simulator, gpuctl: Run, pod: dict[str, Any], steps: int = 2) -> str:
    """A picture that nobody waited for. Finished on the machine when steps are few."""
    argv = ("flux", "a lighthouse", "--seed", "7", "--size", "64x64", "--steps", str(steps))
    code, answer = gpuctl(*argv, "--detach")
    assert code == 0
    job: str = answer["data"]["job"]
    if steps < 50:
        until(lambda: "done" in events_of(simulator, pod, job))
    return job


@pytest.mark.parametrize("verb", [("terminate", "flux", "--yes"), ("stop",)])
def test_finished_work_comes_home_before_the_end(
    simulator: Simulator, gpuctl: Run, pod: dict[str, Any], verb: tuple[str, ...]
) -> None:
    job = painted_away(simulator, gpuctl, pod)
    code, answer = gpuctl(*verb)
    assert code == 0
    [file] = answer["data"]["drained"]
    with Image.open(file) as picture:
        assert picture.size == (64, 64)
    assert Path(f"{file}.json").exists(), "with its receipt, as if it had been waited for"
    assert gpuctl("jobs", "show", job)[1]["data"]["status"] == "fetched"


def test_work_that_is_home_is_not_fetched_again(
    simulator: Simulator, gpuctl: Run, pod: dict[str, Any]
) -> None:
    job = painted_away(simulator, gpuctl, pod)
    assert gpuctl("jobs", "fetch", job)[0] == 0
    _, answer = gpuctl("terminate", "flux", "--yes")
    assert answer["data"]["drained"] == []


def test_what_may_be_lost_is_lost_on_request_alone(
    simulator: Simulator, gpuctl: Run, pod: dict[str, Any]
) -> None:
    painted_away(simulator, gpuctl, pod)
    code, answer = gpuctl("terminate", "flux", "--yes", "--discard")
    assert (code, answer["data"]["drained"]) == (0, [])
    assert pods(simulator) == []


def test_a_running_job_is_not_ended_by_a_yes(
    simulator: Simulator, gpuctl: Run, pod: dict[str, Any]
) -> None:
    painted_away(simulator, gpuctl, pod, steps=50)
    code, refused = gpuctl("terminate", "flux", "--yes")
    assert (code, refused["error"]["code"]) == (2, "usage")
    assert f"--confirm={pod['name']}" in refused["error"]["hint"]
    assert pods(simulator) == ["RUNNING"]
    assert gpuctl("terminate", "flux", "--confirm", "flux")[0] == 2, "the whole name is needed"
    assert gpuctl("terminate", "flux", "--confirm", pod["name"])[0] == 0
    assert pods(simulator) == []


def test_a_machine_that_cannot_be_asked_is_not_ended_by_a_yes(
    simulator: Simulator, gpuctl: Run, pod: dict[str, Any]
) -> None:
    shutil.rmtree(simulator.folder / "pods" / pod["id"] / "root")
    code, refused = gpuctl("terminate", "flux", "--yes")
    assert (code, refused["error"]["code"]) == (2, "usage")
    assert pods(simulator) == ["RUNNING"]
    assert gpuctl("terminate", "flux", "--yes", "--discard")[0] == 0


def test_a_stopped_machine_with_work_that_never_came_home_is_not_ended_by_a_yes(
    simulator: Simulator, gpuctl: Run, pod: dict[str, Any]
) -> None:
    painted_away(simulator, gpuctl, pod)
    assert gpuctl("stop", "--discard")[0] == 0
    assert gpuctl("terminate", "flux", "--yes")[0] == 2
    assert pods(simulator) == ["EXITED"]


def test_work_that_another_computer_sent_comes_home_too(
    simulator: Simulator,
    gpuctl: Run,
    pod: dict[str, Any],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = painted_away(simulator, gpuctl, pod)
    database = folder / "gpuctl/sim/client/state.db"
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("DELETE FROM jobs WHERE id = ?", (job,))
    _, answer = gpuctl("terminate", "flux", "--yes")
    [file] = answer["data"]["drained"]
    assert Path(file).parent.name == job
    assert Path(file).parent.parent.name == "drained"
    assert Path(file).stat().st_size > 0


def test_replacing_a_machine_saves_its_work_before_anything_is_rented(
    simulator: Simulator, gpuctl: Run, pod: dict[str, Any]
) -> None:
    job = painted_away(simulator, gpuctl, pod)
    code, answer = gpuctl("deploy", "--replace", "--yes", "--gpu", "L4")
    assert code == 0
    assert answer["data"]["machine"]["id"] != pod["id"]
    assert gpuctl("jobs", "show", job)[1]["data"]["status"] == "fetched"


def test_the_reaper_is_installed_after_asking_and_then_counts(
    simulator: Simulator,
    gpuctl: Run,
    pod: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    programs = fake_timers(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    code, refused = gpuctl("reap", "--install", "--with", "cron")
    assert (code, refused["error"]["hint"]) == (2, "say it with --yes")
    assert not (programs / "crontab.txt").exists()
    assert gpuctl("reap", "--print", "--with", "cron")[1]["changed"] is False
    assert gpuctl("reap", "--install", "--with", "cron", "--yes")[0] == 0
    line = (programs / "crontab.txt").read_text()
    assert "--sim -q --no-input reap --by-timer" in line
    command = line.split(maxsplit=5)[5].rpartition("#")[0]
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    import subprocess

    assert subprocess.run(["sh", "-c", command], env=environ).returncode == 0
    _, answer = gpuctl("lease", "show")
    [lease] = answer["data"]["leases"]
    assert [killer["armed"] for killer in lease["killers"]] == [True, True]
    assert main(["--sim", "status"]) == 0
    assert "✓2/2" in capsys.readouterr().out
    assert gpuctl("reap", "--uninstall")[1]["data"]["removed"] == "cron"
