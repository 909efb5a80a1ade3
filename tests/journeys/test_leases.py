"""A deploy killed in the middle: the next command names the machine, and the reaper ends it."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

from gpuctl.sim import launcher
from tests.journeys.conftest import Person, until


def pods(person: Person) -> list[dict[str, Any]]:
    found = launcher.running(person.sim_folder)
    listed: list[dict[str, Any]] = launcher.status(found)["pods"] if found else []
    return listed


def killed_while_it_boots(person: Person) -> str:
    """The name of a machine whose deploy was killed -9 before its watchdog was armed."""
    assert person.simulates("sim", "fault", "slow-start", "--value", "3").code == 0
    process = person.start("--sim", "deploy", "--gpu", "L4", "--ttl", "2h")
    until(lambda: _is_remembered(person, process), "the machine in the journal")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    [pod] = pods(person)
    name: str = pod["name"]
    return name


def _is_remembered(person: Person, process: subprocess.Popen[str]) -> bool:
    assert process.poll() is None, process.communicate()
    done = person.simulates("--dry-run", "reap")
    return "interrupted" not in done.stderr and len(done.envelope["data"]["machines"]) == 1


def test_a_machine_left_between_its_creation_and_its_watchdog_is_named_and_ended(
    person: Person,
) -> None:
    name = killed_while_it_boots(person)
    for command in (("status", "--fast"), ("lease", "show", "--fast")):
        said = person.simulates(*command).stderr
        assert name in said
        assert "interrupted deploy" in said
        assert "gpuctl reap" in said
    done = person.simulates("reap")
    [verdict] = done.data["machines"]
    assert (verdict["name"], verdict["deed"]) == (name, "ended")
    assert pods(person) == []
    assert person.simulates("reap").data["machines"] == []


def test_a_machine_left_by_a_killed_deploy_may_be_kept_and_is_armed_then(person: Person) -> None:
    name = killed_while_it_boots(person)
    assert person.simulates("start", name).code == 0
    [verdict] = person.simulates("reap").data["machines"]
    assert verdict["deed"] == "kept"
    [lease] = person.simulates("lease", "show").data["leases"]
    watchdog = next(k for k in lease["killers"] if k["name"] == "watchdog")
    assert watchdog["armed"] is True
    assert "interrupted" not in person.simulates("status", "--fast").stderr


def test_the_simulators_own_description_of_a_pod_shows_no_account_key(person: Person) -> None:
    """The watchdog needs a key on the machine; the account's own never goes there."""
    assert person.simulates("deploy", "--gpu", "L4").code == 0
    sim = json.loads((person.sim_folder / "sim.json").read_text())
    for file in Path(person.sim_folder / "pods").rglob("*"):
        if file.is_file():
            assert sim["token"] not in file.read_text(errors="replace"), file
