"""A pod whose env names a workload runs that workload's service, as the real image does."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import paramiko
import pytest

from gpuctl.models import Json
from gpuctl.sim import processes, services
from gpuctl.sim.launcher import Simulator
from tests.sim.ssh_client import Login, connected, execute
from tests.support.simulator import (
    a_running_pod,
    api_client,
    order,
    running_simulator,
    until,
    until_running,
)
from tests.support.toy_service import scripts_with_service

ENV = {"GPUCTL_WORKLOAD": "toy"}


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scripts_with_service(tmp_path_factory.mktemp("scripts") / "remote_scripts", "toy")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, scripts: Path) -> Iterator[Simulator]:
    folder = tmp_path_factory.mktemp("simulator") / "sim"
    with running_simulator(folder, scripts=str(scripts)) as found:
        yield found


@pytest.fixture
def client(served: Simulator) -> Iterator[httpx.Client]:
    with api_client(served) as found:
        yield found
        for pod in found.get("/pods").json()["pods"]:
            found.delete(f"/pods/{pod['id']}")


def url_of(client: httpx.Client, pod: Json, private: int) -> str:
    """Where the port is on this computer, once the service answers there."""
    pod = client.get(f"/pods/{pod['id']}").json()
    ports = {port["private"]: port for port in pod["runtime"]["ports"]}
    assert ports[private]["ip"] == "127.0.0.1"
    url = f"http://127.0.0.1:{ports[private]['public']}"
    until(lambda: answer(url))
    return url


def answer(url: str) -> str | None:
    try:
        return httpx.get(url, trust_env=False).text
    except httpx.TransportError:
        return None


def log_of(served: Simulator, pod: Json) -> str:
    return (served.folder / "pods" / pod["id"] / "log.ndjson").read_text()


def test_two_pods_serve_the_same_port_each_from_its_own_service(
    client: httpx.Client, login: Login
) -> None:
    env = {**ENV, "PUBLIC_KEY": login.public}
    pods = [a_running_pod(client, name, env=env, ports=["22/tcp"]) for name in ("a", "b")]
    for pod in pods:
        with connected(pod, login) as link:
            assert ask_through(link, 9090) == f"{pod['id']} sim service toy"


def ask_through(link: paramiko.Transport, port: int) -> str:
    def ask() -> str | None:
        try:
            channel = link.open_channel("direct-tcpip", ("127.0.0.1", port), ("127.0.0.1", 1))
        except paramiko.ChannelException:  # not listening yet
            return None
        channel.sendall(b"GET / HTTP/1.0\r\n\r\n")
        said = b"".join(iter(lambda: channel.recv(1 << 16), b""))
        return said.decode().partition("\r\n\r\n")[2]

    return until(ask)


def test_a_declared_port_is_reachable_at_the_address_that_the_api_tells(
    client: httpx.Client, login: Login
) -> None:
    env = {**ENV, "PUBLIC_KEY": login.public}
    pod = a_running_pod(client, env=env, ports=["22/tcp", "9090/http"])
    assert answer(url_of(client, pod, 9090)) == f"{pod['id']} sim service toy"
    with connected(pod, login) as link:
        told = execute(link, 'echo "$GPUCTL_SIM_PORTS"').stdout
    assert {"9090", "9999", "8080", "8000", "3000", "8188"} == {
        pair.partition(":")[0] for pair in told.strip().split(",")
    }


def test_what_the_service_says_is_in_the_containers_log_and_its_end_too(
    client: httpx.Client, served: Simulator
) -> None:
    pod = a_running_pod(client, env=ENV, ports=["9090/http"])
    url = url_of(client, pod, 9090)
    assert "toy listens []" in log_of(served, pod)
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{url}/fall", trust_env=False)
    until(lambda: "the service ended with exit code 3" in log_of(served, pod))
    assert answer(url) is None, "nobody starts it again"
    assert client.get(f"/pods/{pod['id']}").json()["status"] == "RUNNING"


@pytest.mark.parametrize("end", ["stop", "terminate"])
def test_the_service_ends_with_its_pod(client: httpx.Client, end: str) -> None:
    pod = a_running_pod(client, env=ENV, ports=["9090/http"])
    url = url_of(client, pod, 9090)
    client.post(f"/pods/{pod['id']}/action", json={"action": end})
    assert answer(url) is None
    assert processes.with_marker("RUNPOD_POD_ID", pod["id"]) == []


def test_a_stopped_pod_serves_again_when_it_is_started(client: httpx.Client) -> None:
    pod = a_running_pod(client, env=ENV, ports=["9090/http"])
    url_of(client, pod, 9090)
    client.post(f"/pods/{pod['id']}/action", json={"action": "stop"})
    client.post(f"/pods/{pod['id']}/action", json={"action": "start"})
    pod = until_running(client, pod["id"])
    assert answer(url_of(client, pod, 9090)) == f"{pod['id']} sim service toy"


def test_a_service_ends_with_the_simulator(tmp_path: Path, scripts: Path) -> None:
    with (
        running_simulator(tmp_path / "sim", scripts=str(scripts)) as found,
        api_client(found) as client,
    ):
        pod = a_running_pod(client, env=ENV, ports=["9090/http"])
        url = url_of(client, pod, 9090)
    assert answer(url) is None


@pytest.mark.parametrize("name", ["flux", "nothing", "../toy", ""])
def test_pods_of_other_workloads_run_none_and_keep_their_ports(
    client: httpx.Client, served: Simulator, name: str
) -> None:
    made = client.post("/pods", json=order(env={"GPUCTL_WORKLOAD": name}, ports=["9090/http"]))
    pod = until_running(client, made.json()["id"])
    assert pod["runtime"]["ports"][0]["ip"] == "100.65.0.7"
    assert processes.with_marker("RUNPOD_POD_ID", pod["id"]) == []


def test_each_port_is_given_a_free_one_of_its_own() -> None:
    found = services.mapped(["22/tcp", "9090/tcp", "7777/http"])
    assert 22 not in found
    assert {9090, 7777, *services.USUAL_PORTS} == found.keys()
    assert len(set(found.values())) == len(found)
    for port in found.values():
        socket.create_server(("127.0.0.1", port)).close()
