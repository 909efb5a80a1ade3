"""Each fault strikes as often as it was asked to, and then no more."""

from __future__ import annotations

import contextlib
import threading

import httpx
import paramiko
import pytest

from gpuctl.errors import ApiError
from gpuctl.sim.drops import Drops, Meter
from gpuctl.sim.faults import Faults
from gpuctl.sim.launcher import Simulator, add_fault, clear_faults, status
from tests.sim.ssh_client import Login, connected, execute
from tests.support.simulator import a_running_pod, order, until_running


def test_no_capacity_refuses_as_often_as_asked(shared: Simulator, client: httpx.Client) -> None:
    add_fault(shared, "no-capacity", times=2)
    codes = [client.post("/pods", json=order()).status_code for _ in range(3)]
    assert codes == [400, 400, 201]


def test_no_capacity_can_be_for_some_cards_only(shared: Simulator, client: httpx.Client) -> None:
    add_fault(shared, "no-capacity", times=9, value="4090")
    refused = client.post("/pods", json=order())
    assert "no longer any instances available" in refused.json()["detail"]
    other = {"id": "NVIDIA L4", "count": 1}
    assert client.post("/pods", json=order(gpu=other)).status_code == 201


def test_a_proxy_page_comes_once(shared: Simulator, client: httpx.Client) -> None:
    add_fault(shared, "html-502")
    answer = client.get("/pods")
    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (502, "text/html")
    assert client.get("/pods").status_code == 200


def test_a_slow_start_is_seen_and_can_be_stopped(shared: Simulator, client: httpx.Client) -> None:
    add_fault(shared, "slow-start", value="60")
    pod_id = client.post("/pods", json=order()).json()["id"]
    seen = threading.Event()
    while client.get(f"/pods/{pod_id}").json()["status"] != "STARTING":
        seen.wait(0.01)
    stop = client.post(f"/pods/{pod_id}/action", json={"action": "stop"})
    assert stop.json()["status"] == "EXITED"


@pytest.mark.parametrize(
    ("value", "received"),
    [("events:2", 'log\n{"event":1}\n{"event":2}\n'), ("bytes:6", 'log\n{"')],
)
def test_a_connection_is_cut_where_it_was_asked(
    shared: Simulator, client: httpx.Client, login: Login, value: str, received: str
) -> None:
    pod = a_running_pod(client, env={"PUBLIC_KEY": login.public})
    add_fault(shared, "ssh-drop", value=value)
    command = """printf 'log\n{"event":1}\n{"event":2}\n{"event":3}\n'; sleep 60"""
    with connected(pod, login) as link:
        answer = execute(link, command)
        assert (answer.code, answer.stdout) == (-1, received)
        assert not link.is_active()
    with connected(pod, login) as link:
        assert execute(link, "true").code == 0


def test_a_connection_is_cut_after_a_time(
    shared: Simulator, client: httpx.Client, login: Login
) -> None:
    pod = a_running_pod(client, env={"PUBLIC_KEY": login.public})
    add_fault(shared, "ssh-drop", value="seconds:0.1")
    with connected(pod, login) as link:
        assert execute(link, "sleep 60").code == -1


def test_an_upload_can_be_cut_too(shared: Simulator, client: httpx.Client, login: Login) -> None:
    pod = a_running_pod(client, env={"PUBLIC_KEY": login.public})
    add_fault(shared, "ssh-drop", value="bytes:100000")
    with connected(pod, login) as link:
        channel = link.open_session()
        channel.exec_command("cat > $GPUCTL_WORKSPACE/part")
        with contextlib.suppress(OSError, EOFError):
            channel.sendall(b"x" * (8 << 20))
        assert channel.recv_exit_status() == -1
    part = shared.folder / "pods" / pod["id"] / "workspace/part"
    assert part.stat().st_size <= 100000


def test_events_are_counted_across_chunks_and_connections() -> None:
    faults = Faults([{"kind": "ssh-drop", "times": 2, "value": "events:2"}], lambda: None)
    drops = Drops(faults)
    one, other = Meter(drops), Meter(drops)
    assert one.output(b'{"eve') is None
    assert other.output(b"noise\n") is None
    assert one.output(b'nt":1}\nnoise\n{"event"') is None
    assert one.output(b":2}\nrest") == 4
    assert other.output(b'{"event":1}\n') is None
    assert other.output(b'{"event":2}\n') == 12
    assert other.output(b'{"event":3}\n{"event":4}\n') is None
    assert not drops.is_waiting


def test_a_drop_also_strikes_connections_that_were_open_before(
    shared: Simulator, client: httpx.Client, login: Login
) -> None:
    pod = a_running_pod(client, env={"PUBLIC_KEY": login.public})
    with connected(pod, login) as link:
        execute(link, "true")
        add_fault(shared, "ssh-drop")
        assert execute(link, "echo '{\"event\":1}'; sleep 60").code == -1
    assert status(shared)["faults"] == []


def test_a_new_address_comes_at_once_and_the_pod_goes_on(
    shared: Simulator, client: httpx.Client, login: Login
) -> None:
    before = a_running_pod(client, env={"PUBLIC_KEY": login.public})
    with connected(before, login) as link:
        old_key = link.get_remote_server_key().get_base64()
        execute(link, "setsid sleep 555 </dev/null >/dev/null 2>&1 &")
        add_fault(shared, "new-address", value=before["id"])
    after = client.get(f"/pods/{before['id']}").json()
    assert after["status"] == "RUNNING"
    assert after["startedAt"] != before["startedAt"]
    assert after["ssh"]["direct"]["port"] != before["ssh"]["direct"]["port"]
    with connected(after, login) as link:
        assert link.get_remote_server_key().get_base64() != old_key
        assert "sleep 555" in execute(link, "ps -eo args").stdout


def test_a_full_disk_refuses_every_way_of_writing(
    shared: Simulator, client: httpx.Client, login: Login
) -> None:
    pod = a_running_pod(client, env={"PUBLIC_KEY": login.public})
    with connected(pod, login) as link:
        sftp = paramiko.SFTPClient.from_transport(link)
        assert sftp is not None
        add_fault(shared, "disk-full")
        with pytest.raises(OSError, match="Failure"):
            sftp.open("/workspace/a", "w")
        upload = execute(link, "cat > $GPUCTL_WORKSPACE/a", b"content")
        assert upload.code == 1
        assert "No space left on device" in upload.stderr
        assert execute(link, "echo $GPUCTL_SIM_DISK_FULL | cat").stdout == "1\n"
        clear_faults(shared)
        assert execute(link, "cat > $GPUCTL_WORKSPACE/a", b"content").code == 0


def test_a_start_can_come_back_without_the_gpu(
    shared: Simulator, client: httpx.Client, login: Login
) -> None:
    pod_id = a_running_pod(client, env={"PUBLIC_KEY": login.public})["id"]
    client.post(f"/pods/{pod_id}/action", json={"action": "stop"})
    add_fault(shared, "gpu-gone")
    client.post(f"/pods/{pod_id}/action", json={"action": "start"})
    pod = until_running(client, pod_id)
    assert (pod["gpu"]["count"], pod["runtime"]["gpus"], pod["cost"]) == (0, [], 0.0)
    with connected(pod, login) as link:
        assert execute(link, "nvidia-smi -L").stdout == "No devices were found\n"


@pytest.mark.parametrize(
    ("kind", "value"),
    [("nonsense", None), ("ssh-drop", "parsecs:3"), ("slow-start", "long"), ("rate-limit", "x")],
)
def test_a_fault_that_does_not_exist_is_refused(
    shared: Simulator, kind: str, value: str | None
) -> None:
    with pytest.raises(ApiError) as refused:
        add_fault(shared, kind, value=value)
    assert refused.value.status == 422
    assert status(shared)["faults"] == []
