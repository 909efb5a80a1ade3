"""Drops, kills, restarts and full disks between the command and the picture: nothing is lost."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from gpuctl.sim import launcher
from tests.journeys.conftest import Person, until

SLOW = ("--size", "256x256", "--steps", "40", "--seed", "7")


@pytest.fixture
def slow_person(person: Person) -> Person:
    """A person whose pictures take about four seconds, with a pod that is already there."""
    person.environ["GPUCTL_SIM__STEP_S"] = "0.1"
    assert person.simulates("flux", "warm up", "--size", "64x64", "--steps", "1").code == 0
    return person


def painting(person: Person, *argv: str) -> subprocess.Popen[str]:
    """A `flux` that has begun to denoise."""
    process = person.start("--sim", "flux", "a ship in a storm", *SLOW, *argv)
    until(lambda: _steps(person) >= 3, "the first steps")
    return process


def _events(person: Person) -> list[dict[str, object]]:
    files = sorted(person.sim_folder.rglob("jobs/*/events.ndjson"), key=lambda f: f.stat().st_ctime)
    lines = files[-1].read_text().splitlines() if len(files) > 1 else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def _steps(person: Person) -> int:
    return sum(event["event"] == "progress" for event in _events(person))


def _home(person: Person) -> Path:
    return person.folder / "outputs" / "a-ship-in-a-storm-7.png"


def _is_whole(file: Path) -> bool:
    with Image.open(file) as picture:
        picture.load()
        return picture.size == (256, 256)


def test_ctrl_c_detaches_at_once_says_how_to_come_back_and_the_picture_is_not_lost(
    slow_person: Person,
) -> None:
    process = painting(slow_person)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 130
    found = re.search(r"gpuctl jobs attach (\w+)", err)
    assert found, err
    assert re.search(r"costs \$\d+\.\d\d/h", err)
    assert not _home(slow_person).exists()
    data = slow_person.simulates("jobs", "attach", found[1]).data
    assert Path(data["file"]) == _home(slow_person)
    assert _is_whole(_home(slow_person))


def test_kill_9_of_the_client_loses_nothing(slow_person: Person) -> None:
    process = painting(slow_person)
    process.kill()
    process.communicate()
    jobs = slow_person.simulates("jobs", "list").data["jobs"]
    assert jobs[0]["status"] == "running"
    data = slow_person.simulates("jobs", "attach", jobs[0]["job"][:20]).data
    assert _is_whole(Path(data["file"]))
    assert data["receipt"]["prompts"]["user"] == "a ship in a storm"
    assert sum(event["event"] == "done" for event in _events(slow_person)) == 1


@pytest.mark.parametrize("kind", ["ssh-drop", "new-address"])
def test_a_dropped_connection_reconnects_and_the_picture_comes_home(
    slow_person: Person, kind: str
) -> None:
    process = painting(slow_person)
    assert slow_person.simulates("sim", "fault", kind).code == 0
    _, err = process.communicate(timeout=40)
    assert process.returncode == 0, err
    assert "reconnecting" in err
    assert _is_whole(_home(slow_person))
    if kind == "new-address":
        assert "new host key is accepted" in err


def test_a_simulator_killed_and_started_again_keeps_the_pod_and_moves_it(
    slow_person: Person,
) -> None:
    before = slow_person.simulates("status").data
    found = launcher.running(slow_person.sim_folder)
    assert found is not None
    os.kill(found.pid, signal.SIGKILL)
    until(lambda: launcher.running(slow_person.sim_folder) is None, "the simulator's end")
    data = slow_person.simulates("flux", "after the crash", "--size", "64x64").data
    assert data["machine"]["name"] in json.dumps(before)


def test_a_detached_job_is_fetched_later(slow_person: Person) -> None:
    done = slow_person.simulates("flux", "a ship in a storm", *SLOW, "--detach")
    assert done.data["status"] in ("submitted", "running")
    assert done.data["files"] == []
    job = done.data["job"]
    early = slow_person.simulates("jobs", "fetch", job)
    assert early.code == 1
    assert early.error["hint"] == f"gpuctl jobs attach {job}"
    until(lambda: any(event["event"] == "done" for event in _events(slow_person)), "its end")
    fetched = slow_person.simulates("jobs", "fetch", job, "--out", "here/").data
    assert _is_whole(Path(fetched["file"]))
    assert Path(fetched["file"]).parent == slow_person.folder / "here"


def test_a_cancelled_job_ends_and_says_so(slow_person: Person) -> None:
    process = painting(slow_person, "--steps", "100")
    job = slow_person.simulates("jobs", "list").data["jobs"][0]["job"]
    assert slow_person.simulates("jobs", "cancel", job).data["cancelled"] is True
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "cancelled" in err
    assert slow_person.simulates("jobs", "show", job).data["status"] == "cancelled"
    assert slow_person.simulates("jobs", "cancel", job).data["cancelled"] is False


def test_a_full_disk_on_the_machine_is_named_with_its_remedy(person: Person) -> None:
    assert person.simulates("flux", "first", "--size", "64x64").code == 0
    assert person.simulates("sim", "fault", "disk-full").code == 0
    done = person.simulates("flux", "second", "--size", "64x64")
    assert done.code == 1
    assert done.error["details"]["worker_code"] == "disk_full"
    assert done.error["hint"]


@pytest.mark.parametrize(
    ("fault", "times"),
    [("no-capacity", "2"), ("rate-limit", "1"), ("html-502", "1"), ("create-500", "1")],
)
def test_the_first_picture_survives_what_the_provider_does(
    person: Person, fault: str, times: str
) -> None:
    assert person.simulates("status").code == 0
    assert person.simulates("sim", "fault", fault, "--times", times).code == 0
    data = person.simulates("flux", "a harbour", "--size", "64x64").data
    assert Path(data["file"]).exists()
    assert len(person.simulates("status").data["machines"]) == 1, "exactly one pod was rented"


def test_no_funds_means_no_picture_and_nothing_rented(person: Person) -> None:
    assert person.simulates("status").code == 0
    assert person.simulates("sim", "fault", "insufficient-funds").code == 0
    done = person.simulates("flux", "a harbour", "--size", "64x64")
    assert done.code == 6
    assert person.simulates("status").data["machines"] == []


def test_two_pictures_at_once_wait_their_turn(slow_person: Person) -> None:
    first = painting(slow_person)
    second = slow_person.types("--sim", "flux", "a second ship", "--size", "64x64", "--steps", "2")
    assert second.code == 0
    assert "queue" in second.stderr
    first.communicate(timeout=30)
    assert first.returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="a small file system can be mounted by root only")
def test_a_disk_that_fills_up_here_loses_nothing(slow_person: Person) -> None:
    small = slow_person.folder / "outputs"
    small.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=66m", "tmpfs", small], check=True)
    try:
        process = painting(slow_person)
        with pytest.raises(OSError, match="No space"):
            (small / "fill").write_bytes(bytes(70 << 20))
        _, err = process.communicate(timeout=40)
        assert process.returncode == 1
        assert "cannot write" in err
        assert "gpuctl jobs attach" in err
        (small / "fill").unlink()
        job = slow_person.simulates("jobs", "list").data["jobs"][0]["job"]
        assert _is_whole(Path(slow_person.simulates("jobs", "attach", job).data["file"]))
    finally:
        subprocess.run(["umount", small], check=True)
