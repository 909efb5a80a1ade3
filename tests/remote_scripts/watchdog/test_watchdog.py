"""One watchdog in a folder, before a loopback API: what it decides, whatever clocks and nets do."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.pod_api import Answer, PodApi, pod_api
from watchdog import activity, clock, ending, files, loop, rescue
from watchdog.ending import Killer, Refused
from watchdog.lease import Lease, parsed

Json = dict[str, Any]


class Time:
    """The machine's clocks, moved by hand."""

    def __init__(self) -> None:
        self.boot_s, self.wall_s, self.boot_id = 1000.0, 1_700_000_000.0, "boot-1"

    def passes(self, seconds: float) -> None:
        self.boot_s += seconds
        self.wall_s += seconds


@pytest.fixture
def time_(monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time()
    monkeypatch.setattr(clock, "now", lambda: made.boot_s)
    monkeypatch.setattr(clock, "boot", lambda: made.boot_id)
    monkeypatch.setattr(clock.time, "time", lambda: made.wall_s)
    return made


@pytest.fixture
def api() -> Iterator[PodApi]:
    with pod_api() as found:
        found.pods["p1"] = {"id": "p1", "status": "RUNNING"}
        yield found


@pytest.fixture
def machine(
    api: PodApi, time_: Time, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> files.Folder:
    monkeypatch.setenv("RUNPOD_POD_ID", "p1")
    monkeypatch.setenv("RUNPOD_API_KEY", "rpa_of_the_pod")
    monkeypatch.setenv("GPUCTL_API_URL", api.url)
    monkeypatch.setattr(activity, "gpu_use", lambda: 0)
    monkeypatch.setattr(activity, "ssh_sessions", frozenset)
    folder = files.Folder("p1", str(tmp_path / "w"))
    folder.make()
    return folder


def lease(folder: files.Folder, serial: int = 1, **spans: Any) -> None:
    files.write(folder.lease, {"serial": serial, **spans, "received": clock.stamp()})


def told(folder: files.Folder) -> Json:
    found = files.read(folder.status)
    assert found is not None
    return found


def actions(api: PodApi) -> list[str]:
    return [str(body["action"]) for body in api.calls("POST") if body]


def a_job_runs(folder: files.Folder, name: str = "flux") -> int:
    """A job without an end, and the lock of the worker that lives. The lock's descriptor."""
    run = folder.workspace / "run"
    (run / f"{name}.pending").mkdir(parents=True, exist_ok=True)
    (run / f"{name}.pending" / "01JOB").touch()
    lock = os.open(run / f"{name}.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def test_it_is_armed_when_it_has_a_lease_and_its_key_was_taken(
    api: PodApi, machine: files.Folder
) -> None:
    watch = loop.Watch(machine, "v1")
    watch.tick()
    assert told(machine)["armed"] is False, "without a lease there is nothing to enforce"
    lease(machine, drain_in_s=3600.0, end_in_s=3900.0)
    watch.tick()
    assert told(machine)["armed"] is True
    assert told(machine)["remaining_s"] == 3600.0
    assert actions(api) == []


def test_a_refused_key_is_no_armed_watchdog_and_is_asked_again(
    api: PodApi, machine: files.Folder, time_: Time
) -> None:
    api.script("GET /v2/pods/p1", Answer(401, "{}"))
    lease(machine, drain_in_s=3600.0)
    watch = loop.Watch(machine, "v1")
    watch.tick()
    assert (told(machine)["armed"], told(machine)["key"]) == (False, "answered 401")
    time_.passes(60)
    watch.tick()
    assert told(machine)["armed"] is True


def test_the_deadline_ends_it_and_until_then_nothing_does(
    api: PodApi, machine: files.Folder, time_: Time
) -> None:
    lease(machine, drain_in_s=3600.0, end_in_s=3900.0)
    watch = loop.Watch(machine, "v1")
    time_.passes(3599)
    watch.tick()
    assert actions(api) == []
    time_.passes(2)
    watch.tick()
    assert actions(api) == ["terminate"]


@pytest.mark.parametrize("jump_s", [86400.0, -86400.0])
def test_a_corrected_wall_clock_neither_ends_it_early_nor_keeps_it_alive(
    api: PodApi, machine: files.Folder, time_: Time, jump_s: float
) -> None:
    lease(machine, drain_in_s=3600.0, end_in_s=3900.0)
    watch = loop.Watch(machine, "v1")
    time_.wall_s += jump_s
    watch.tick()
    assert actions(api) == []
    time_.passes(3601)
    watch.tick()
    assert actions(api) == ["terminate"]


def test_after_a_restart_of_the_host_the_wall_clock_counts(
    api: PodApi, machine: files.Folder, time_: Time
) -> None:
    lease(machine, drain_in_s=3600.0, end_in_s=3900.0)
    time_.boot_s, time_.boot_id = 5.0, "boot-2"
    time_.wall_s += 3000
    watch = loop.Watch(machine, "v1")
    watch.tick()
    assert told(machine)["remaining_s"] == pytest.approx(600)
    time_.wall_s += 601
    watch.tick()
    assert actions(api) == ["terminate"]


def test_a_lease_that_is_damaged_or_gone_leaves_the_last_one_in_force(
    api: PodApi, machine: files.Folder, time_: Time
) -> None:
    lease(machine, drain_in_s=3600.0, end_in_s=3900.0)
    watch = loop.Watch(machine, "v1")
    watch.tick()
    machine.lease.write_text("{")
    watch.tick()
    machine.lease.unlink()
    time_.passes(3601)
    watch.tick()
    assert actions(api) == ["terminate"]


def test_a_running_job_is_waited_for_until_the_last_moment(
    api: PodApi, machine: files.Folder, time_: Time
) -> None:
    lock = a_job_runs(machine)
    lease(machine, drain_in_s=3600.0, end_in_s=3900.0)
    watch = loop.Watch(machine, "v1")
    time_.passes(3601)
    watch.tick()
    assert (actions(api), told(machine)["state"]) == ([], "drain")
    time_.passes(300)
    watch.tick()
    assert actions(api) == ["terminate"]
    os.close(lock)


def test_a_job_of_a_worker_that_died_holds_off_nothing(
    api: PodApi, machine: files.Folder, time_: Time
) -> None:
    os.close(a_job_runs(machine))
    lease(machine, drain_in_s=3600.0, end_in_s=3900.0)
    watch = loop.Watch(machine, "v1")
    time_.passes(3601)
    watch.tick()
    assert actions(api) == ["terminate"]


def test_idleness_stops_it_after_the_whole_span_and_after_the_boot_grace(
    api: PodApi, machine: files.Folder, time_: Time
) -> None:
    lease(machine, idle_stop_s=600.0, boot_grace_s=900.0)
    watch = loop.Watch(machine, "v1")
    watch.tick()
    time_.passes(899)
    watch.tick()
    assert actions(api) == []
    time_.passes(2)
    watch.tick()
    assert actions(api) == ["stop"]


@pytest.mark.parametrize("what", ["job", "ssh", "gpu", "short job"])
def test_work_of_any_kind_begins_the_idle_span_again(
    api: PodApi,
    machine: files.Folder,
    time_: Time,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    lease(machine, idle_stop_s=600.0)
    watch = loop.Watch(machine, "v1")
    watch.tick()
    time_.passes(590)
    lock = a_job_runs(machine) if what == "job" else None
    if what == "ssh":
        monkeypatch.setattr(activity, "ssh_sessions", lambda: frozenset({"far:1"}))
        watch.tick()
    if what == "gpu":
        monkeypatch.setattr(activity, "gpu_use", lambda: 80)
    if what == "short job":
        (machine.workspace / "jobs" / "01JOB").mkdir(parents=True)
    watch.tick()
    assert told(machine)["holding"] != []
    time_.passes(20)
    watch.tick()
    assert actions(api) == []
    if lock is not None:
        os.close(lock)


def test_a_glance_over_ssh_is_no_work(
    api: PodApi, machine: files.Folder, time_: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease(machine, idle_stop_s=600.0)
    watch = loop.Watch(machine, "v1")
    for minute in range(11):
        sessions = frozenset({f"laptop:{minute}"})
        monkeypatch.setattr(activity, "ssh_sessions", lambda seen=sessions: seen)
        watch.tick()
        time_.passes(60)
    watch.tick()
    assert actions(api) == ["stop"]


def test_an_api_that_fails_is_asked_again_with_growing_pauses(
    api: PodApi, machine: files.Folder, time_: Time
) -> None:
    api.script("POST /v2/pods/p1/action", *[Answer(500, "")] * 6)
    lease(machine, drain_in_s=1.0, end_in_s=1.0)
    watch = loop.Watch(machine, "v1")
    time_.passes(2)
    began = time_.boot_s
    while "p1" in api.pods and len(actions(api)) < 7:
        watch.tick()
        time_.passes(1)
    assert len(actions(api)) == 7
    assert 5 + 10 + 20 + 40 + 60 + 60 <= time_.boot_s - began <= 210
    assert "was refused" not in told(machine)["error"]


def test_an_end_that_was_accepted_and_did_not_happen_is_asked_for_again(
    api: PodApi, machine: files.Folder, time_: Time
) -> None:
    lease(machine, drain_in_s=1.0, end_in_s=1.0)
    watch = loop.Watch(machine, "v1")
    for _ in range(3):
        time_.passes(61)
        watch.tick()
    assert actions(api) == ["terminate"] * 3


def test_the_deadline_is_not_held_up_by_a_stop_that_was_refused(
    api: PodApi, machine: files.Folder, time_: Time
) -> None:
    api.script("POST /v2/pods/p1/action", Answer(409, "{}"))
    lease(machine, idle_stop_s=60.0, drain_in_s=62.0, end_in_s=62.0)
    watch = loop.Watch(machine, "v1")
    watch.tick()
    time_.passes(61)
    watch.tick()
    time_.passes(2)
    watch.tick()
    assert actions(api) == ["stop", "terminate"]


def test_a_newer_version_makes_the_old_one_step_back(machine: files.Folder) -> None:
    watch = loop.Watch(machine, "v1")
    assert watch.tick()
    lease(machine, drain_in_s=60.0, script="v2")
    assert not watch.tick()


def test_a_full_disk_does_not_keep_it_from_ending_the_machine(
    api: PodApi, machine: files.Folder, time_: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease(machine, drain_in_s=1.0, end_in_s=1.0)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write", full)
    time_.passes(2)
    loop.Watch(machine, "v1").tick()
    assert actions(api) == ["terminate"]


def test_without_the_v2_api_runpodctl_is_asked_in_its_new_and_its_old_words(
    api: PodApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "runpodctl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/told\n[ "$1" = remove ]\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    api.script("POST /v2/pods", Answer(410, "gone"))
    killer = Killer({"RUNPOD_POD_ID": "p1", "RUNPOD_API_KEY": "k", "GPUCTL_API_URL": api.url}, "p1")
    assert killer.end("terminate") == "runpodctl"
    assert (tmp_path / "told").read_text() == "pod delete p1\nremove pod p1\n"


def test_graphql_is_the_last_resort_and_can_prove_the_key_too(api: PodApi) -> None:
    done = json.dumps({"data": {"podTerminate": None, "pod": {"id": "p1"}}})
    api.script("GET /v2/pods/p1", Answer(403, "{}"))
    api.script("POST /v2/pods", Answer(403, "{}"))
    api.script("POST /v2/graphql", Answer(200, done), Answer(200, done))
    killer = Killer(
        {
            "RUNPOD_POD_ID": "p1",
            "RUNPOD_API_KEY": "k",
            "GPUCTL_API_URL": api.url,
            "GPUCTL_GRAPHQL_URL": f"{api.url}/graphql",
            "PATH": "/nonexistent",
        },
        "p1",
    )
    assert killer.prove() == "graphql"
    assert killer.end("terminate") == "graphql"
    [asked, told_] = api.calls("POST", "/v2/graphql")
    assert asked is not None
    assert told_ is not None
    assert told_["variables"] == {"id": "p1"}


def test_the_key_goes_to_no_other_host() -> None:
    environ = {"RUNPOD_POD_ID": "p1", "RUNPOD_API_KEY": "k"}
    for url in ("https://evil.example/v2", "http://api.runpod.io/v2"):
        killer = Killer({**environ, "GPUCTL_API_URL": url, "GPUCTL_GRAPHQL_URL": url}, "p1")
        with pytest.raises(Refused, match="the key is not sent to"):
            killer.prove()


def test_the_environment_of_the_container_is_read_where_ssh_hides_it(tmp_path: Path) -> None:
    dump = tmp_path / "rp_environment"
    dump.write_text('export RUNPOD_POD_ID="p7"\nexport RUNPOD_API_KEY=rpa_x\n# a note\n')
    assert ending._dumped(str(dump)) == {"RUNPOD_POD_ID": "p7", "RUNPOD_API_KEY": "rpa_x"}


def test_ssh_sessions_are_told_from_other_connections_and_from_dead_ones(tmp_path: Path) -> None:
    rows = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid
   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0
   1: 0100007F:0016 0B00007F:D431 01 00000000:00000000 02:000A7AF2 00000000     0
   2: 0100007F:0016 0C00007F:D432 01 00000024:00000000 01:00000AF2 00000005     0
   3: 0100007F:D500 0D00007F:0016 01 00000000:00000000 02:000A7AF2 00000000     0
   4: 0100007F:1F90 0E00007F:D433 01 00000000:00000000 02:000A7AF2 00000000     0
"""
    table = tmp_path / "tcp"
    table.write_text(rows)
    assert activity.ssh_sessions((str(table),)) == {"0B00007F:D431"}


def test_finished_work_is_moved_to_the_network_volume_and_nothing_half_made(
    tmp_path: Path,
) -> None:
    workspace, volume = tmp_path / "w", tmp_path / "volume"
    outputs = workspace / "jobs/01JOB/outputs"
    outputs.mkdir(parents=True)
    (outputs / "fox.png").write_bytes(b"fox")
    (outputs / "owl.png.part").write_bytes(b"ow")
    assert rescue.rescue(workspace, None, "p1", lambda: False) == rescue.NOWHERE
    volume.mkdir()
    said = rescue.rescue(workspace, str(volume), "p1", lambda: False)
    assert said.startswith("1 of 1 files saved")
    saved = [path for path in volume.rglob("*") if path.is_file()]
    assert saved == [volume / "gpuctl-rescued/p1/jobs/01JOB/outputs/fox.png"]
    assert saved[0].read_bytes() == b"fox"
    assert rescue.rescue(volume, str(volume), "p1", lambda: False) == rescue.HERE


def test_what_is_no_lease_is_none(time_: Time) -> None:
    assert parsed(None) is None
    assert parsed({"serial": 1, "drain_in_s": "soon"}) is None
    assert parsed({"serial": 1, "at_deadline": "explode"}) is None
    assert parsed({}) is None
    later = parsed({"serial": 1, "drain_in_s": 5.0, "from_a_later_version": True})
    assert later == Lease(serial=1, drain_in_s=5.0, received=clock.stamp())


def test_a_machine_id_cannot_leave_its_folder(tmp_path: Path) -> None:
    for name in ("../x", "a/b", ""):
        with pytest.raises(ValueError, match="not a machine id"):
            files.Folder(name, str(tmp_path))


def test_a_lease_that_came_to_the_wrong_machine_does_not_end_it(
    api: PodApi, machine: files.Folder, time_: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.pods["p2"] = {"id": "p2", "status": "RUNNING"}
    monkeypatch.setenv("RUNPOD_POD_ID", "p2")
    lease(machine, drain_in_s=1.0, end_in_s=1.0)
    watch = loop.Watch(machine, "v1")
    time_.passes(2)
    watch.tick()
    assert told(machine)["key"] == "this is p2, and the lease is that of p1"
    assert actions(api) == []
