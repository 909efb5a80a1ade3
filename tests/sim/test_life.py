"""Pods live and end as RunPod's do, and come back when the simulator was killed."""

from __future__ import annotations

import json
import os
import signal
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import paramiko
import pytest

from gpuctl.models import Json
from gpuctl.sim import launcher, processes
from gpuctl.sim.launcher import Simulator
from tests.sim.ssh_client import Login, connected, execute
from tests.support.simulator import (
    a_running_pod,
    api_client,
    order,
    running_simulator,
    simulator,
    until,
    until_running,
)

__all__ = ["simulator"]
IN_BACKGROUND = "setsid sleep 999 </dev/null >/dev/null 2>&1 &"


def host_key(pod: Json, login: Login) -> str:
    with connected(pod, login) as transport:
        return str(transport.get_remote_server_key().get_base64())


def act(client: httpx.Client, pod_id: str, action: str) -> Json:
    answer: Json = client.post(f"/pods/{pod_id}/action", json={"action": action}).json()
    return answer


def test_a_stop_ends_what_ran_and_a_start_has_a_new_address(
    client: httpx.Client, login: Login
) -> None:
    before = a_running_pod(
        client,
        env={"PUBLIC_KEY": login.public},
        mounts={"persistent": {"size": 10, "path": "/workspace"}},
    )
    with connected(before, login) as link:
        execute(link, IN_BACKGROUND)
        execute(link, "echo kept > $GPUCTL_WORKSPACE/kept; echo lost > ~/lost")
    old_key = host_key(before, login)
    act(client, before["id"], "stop")
    assert processes.with_marker("RUNPOD_POD_ID", before["id"]) == []
    with pytest.raises((OSError, paramiko.SSHException, EOFError)):
        host_key(before, login)
    act(client, before["id"], "start")
    after = until_running(client, before["id"])
    assert after["ssh"]["direct"]["port"] != before["ssh"]["direct"]["port"]
    assert after["startedAt"] != before["startedAt"]
    assert host_key(after, login) != old_key
    with connected(after, login) as link:
        assert execute(link, "ls ~; cat $GPUCTL_WORKSPACE/kept").stdout == "kept\n"


def test_terminating_leaves_no_folder_and_no_process(
    shared: Simulator, client: httpx.Client, login: Login
) -> None:
    pod = a_running_pod(client, env={"PUBLIC_KEY": login.public})
    with connected(pod, login) as link:
        execute(link, IN_BACKGROUND)
    assert client.delete(f"/pods/{pod['id']}").status_code == 204
    assert processes.with_marker("RUNPOD_POD_ID", pod["id"]) == []
    assert not (shared.folder / "pods" / pod["id"]).exists()


def test_a_network_volume_outlives_its_pods(client: httpx.Client, login: Login) -> None:
    wanted = {"name": "models", "size": 10, "dataCenter": "EU-RO-1"}
    volume_id = client.post("/network-volumes", json=wanted).json()["id"]
    mounts = {"network": [{"volumeId": volume_id, "path": "/workspace"}]}
    for command, shown in (
        ("echo x > $GPUCTL_WORKSPACE/f", ""),
        ("cat $GPUCTL_WORKSPACE/f", "x\n"),
    ):
        pod = a_running_pod(client, env={"PUBLIC_KEY": login.public}, mounts=mounts)
        with connected(pod, login) as link:
            assert execute(link, command).stdout == shown
            sftp = paramiko.SFTPClient.from_transport(link)
            assert sftp is not None
            assert sftp.listdir("/workspace") == ["f"]
        client.delete(f"/pods/{pod['id']}")


def test_changing_the_image_recreates_the_container_and_a_name_does_not(
    client: httpx.Client, login: Login
) -> None:
    pod = a_running_pod(client, env={"PUBLIC_KEY": login.public})
    assert client.patch(f"/pods/{pod['id']}", json={"name": "n"}).json()["ssh"] == pod["ssh"]
    client.patch(f"/pods/{pod['id']}", json={"image": "other:1"})
    assert until_running(client, pod["id"])["startedAt"] != pod["startedAt"]


def frames(response: httpx.Response) -> Iterator[Json]:
    lines = response.iter_lines()
    for line in lines:
        if line.startswith("id: "):
            data = json.loads(next(lines).removeprefix("data: "))
            yield {"id": line.removeprefix("id: "), **data}


def read_frames(
    client: httpx.Client, pod_id: str, count: int, last: str | None = None, **query: str
) -> list[Json]:
    headers = {"Last-Event-ID": last} if last else {}
    with client.stream("GET", f"/pods/{pod_id}/logs", params=query, headers=headers) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        found = frames(stream)
        return [next(found) for _ in range(count)]


def test_the_log_tells_the_start_and_goes_on_where_it_was_left(client: httpx.Client) -> None:
    pod_id = a_running_pod(client)["id"]
    lines = read_frames(client, pod_id, 5)
    assert [line["source"] for line in lines] == ["system"] * 4 + ["container"]
    assert "pulling" in lines[1]["line"]
    assert sorted({line["id"] for line in lines}) == [line["id"] for line in lines]
    assert read_frames(client, pod_id, 2, last=lines[2]["id"]) == lines[3:]
    assert read_frames(client, pod_id, 2, last=lines[2]["id"] + "/4", tail="0") == lines[3:]
    assert read_frames(client, pod_id, 3, since=lines[2]["id"]) == lines[2:]
    assert read_frames(client, pod_id, 1, source="container") == lines[4:]
    assert read_frames(client, pod_id, 2, tail="2") == lines[3:]
    assert client.get(f"/pods/{pod_id}/logs", params={"tail": "5001"}).status_code == 422


def test_the_log_stays_open_and_brings_what_comes(client: httpx.Client) -> None:
    pod_id = a_running_pod(client)["id"]
    with client.stream("GET", f"/pods/{pod_id}/logs", params={"tail": "0"}) as stream:
        found = frames(stream)
        assert next(stream.iter_raw()).startswith(b":")
        del found
    with client.stream("GET", f"/pods/{pod_id}/logs", params={"tail": "1"}) as stream:
        found = frames(stream)
        next(found)
        threading.Thread(target=act, args=(client, pod_id, "restart")).start()
        assert next(found)["line"].startswith("create container")
    until_running(client, pod_id)


def test_only_the_owner_can_read_its_files(simulator: Simulator) -> None:
    with api_client(simulator) as client:
        client.post("/pods", json=order())
    for name in ("sim.json", "state.json"):
        assert stat.S_IMODE((simulator.folder / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(simulator.folder.stat().st_mode) == 0o700


def test_a_killed_simulator_comes_back_with_its_pods(simulator: Simulator, login: Login) -> None:
    with api_client(simulator) as client:
        before = a_running_pod(client, env={"PUBLIC_KEY": login.public})
        stopped = a_running_pod(client, name="stopped")
        act(client, stopped["id"], "stop")
    launcher.add_fault(simulator, "create-500", times=3)
    with connected(before, login) as link:
        left_behind = execute(link, f"{IN_BACKGROUND} echo $!").stdout.strip()
        execute(link, "echo kept > $GPUCTL_WORKSPACE/kept")
    os.kill(simulator.pid, signal.SIGKILL)
    until(lambda: launcher.running(simulator.folder) is None)
    again = launcher.ensure(simulator.folder)
    assert again.api_url == simulator.api_url
    assert again.pid != simulator.pid
    with api_client(again) as client:
        after = until_running(client, before["id"])
        assert client.get(f"/pods/{stopped['id']}").json()["status"] == "EXITED"
    assert after["ssh"]["direct"]["port"] != before["ssh"]["direct"]["port"]
    assert launcher.status(again)["faults"] == [{"kind": "create-500", "times": 3, "value": None}]
    with connected(after, login) as link:
        assert execute(link, "cat $GPUCTL_WORKSPACE/kept").stdout == "kept\n"
        # Dead, though perhaps not yet collected: a restart ends what ran in the pod.
        assert not processes.is_alive(int(left_behind))


def test_many_starters_get_one_simulator(tmp_path: Path) -> None:
    found: list[Simulator] = []
    with running_simulator(tmp_path / "sim") as first:
        launcher.stop(tmp_path / "sim")
        starters = [
            threading.Thread(target=lambda: found.append(launcher.ensure(tmp_path / "sim")))
            for _ in range(4)
        ]
        for starter in starters:
            starter.start()
        for starter in starters:
            starter.join()
        assert len(found) == 4
        assert len({one.pid for one in found}) == 1
        assert found[0].pid != first.pid


def test_stopping_ends_what_runs_in_pods_and_resetting_forgets_them(
    simulator: Simulator, login: Login
) -> None:
    with api_client(simulator) as client:
        pod = a_running_pod(client, env={"PUBLIC_KEY": login.public})
    with connected(pod, login) as link:
        execute(link, IN_BACKGROUND)
    assert launcher.stop(simulator.folder)
    assert processes.with_marker("RUNPOD_POD_ID", pod["id"]) == []
    assert launcher.running(simulator.folder) is None
    assert not launcher.stop(simulator.folder)
    launcher.reset(simulator.folder)
    assert not simulator.folder.exists()


def test_resetting_never_removes_a_folder_that_is_not_a_simulators(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/precious").touch()
    launcher.reset(tmp_path / "mine")
    assert (tmp_path / "mine/precious").exists()


def test_a_reset_kills_pods_whose_simulator_died(simulator: Simulator, login: Login) -> None:
    with api_client(simulator) as client:
        pod = a_running_pod(client, env={"PUBLIC_KEY": login.public})
    with connected(pod, login) as link:
        execute(link, IN_BACKGROUND)
    os.kill(simulator.pid, signal.SIGKILL)
    until(lambda: launcher.running(simulator.folder) is None)
    launcher.reset(simulator.folder)
    assert processes.with_marker("RUNPOD_POD_ID", pod["id"]) == []


def test_a_server_that_hangs_is_replaced(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launcher, "PING_LIMIT_S", 1.0)
    os.kill(simulator.pid, signal.SIGSTOP)
    assert launcher.ensure(simulator.folder).pid != simulator.pid


def test_an_unused_simulator_ends_by_itself(tmp_path: Path) -> None:
    with running_simulator(tmp_path / "sim", idle_stop_s="0.2") as found:
        until(lambda: not processes.is_alive(found.pid))


def test_settings_in_capitals_reach_every_pod(tmp_path: Path, login: Login) -> None:
    with running_simulator(tmp_path / "sim", GPUCTL_SIM_STEP_S="0.5") as found:
        with api_client(found) as client:
            pod = a_running_pod(client, env={"PUBLIC_KEY": login.public})
        with connected(pod, login) as link:
            assert execute(link, "echo $GPUCTL_SIM_STEP_S").stdout == "0.5\n"
