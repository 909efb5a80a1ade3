"""RunPod pods as machines: what is on the wire, in gpuctl's words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from gpuctl.clients.http import Http
from gpuctl.clients.runpod_api import RunpodApi
from gpuctl.errors import NoCapacity, NotFound
from gpuctl.models import Address, Json, MachineRequest, Need, Offer, Secret
from gpuctl.providers import PROVIDERS, connect_all
from gpuctl.providers.runpod import RunpodProvider, machine_of
from gpuctl.sim.launcher import Simulator, add_fault
from tests.support.openapi import validating_transport
from tests.support.pod_api import Answer, PodApi, pod_api, problem
from tests.support.simulator import running_simulator, until

POD: Json = {
    "id": "p1",
    "name": "gpuctl-flux-01abc",
    "status": "RUNNING",
    "gpu": {"id": "NVIDIA L4", "count": 2},
    "cost": 0.78,
    "image": "i",
    "dataCenterId": "EU-RO-1",
    "ssh": {"proxy": None, "direct": {"host": "8.8.4.4", "port": 17740, "username": "root"}},
    "startedAt": "2026-11-21T10:00:00Z",
    "createdAt": "2026-11-21T09:59:00Z",
    "something": "new",
}
NEED = Need(image="img", vram_gb=24, disk_gb=30, volume_gb=80, min_cuda="12.8")
REQUEST = MachineRequest("gpuctl-flux-1", "flux", NEED, public_key="ssh-ed25519 AAAA me")
OFFER = Offer("runpod", "NVIDIA L4", "L4", "SECURE", 0.39, 24)


def _ports(*ports: Json) -> Json:
    return {**POD, "ssh": {"direct": None}, "runtime": {"ports": list(ports)}}


def test_a_pod_is_read_with_what_it_costs_and_where_it_answers() -> None:
    machine = machine_of(POD, trusts_loopback=False)
    assert machine.address == Address("8.8.4.4", 17740, "root")
    assert (machine.workload, machine.gpu, machine.gpu_count) == ("flux", "NVIDIA L4", 2)
    assert (machine.price_usd_h, machine.started_at) == (0.78, "2026-11-21T10:00:00Z")


@pytest.mark.parametrize("status", ["EXITED", "STARTING", "PROVISIONING", "SOMETHING_NEW"])
def test_only_a_running_pod_has_an_address(status: str) -> None:
    assert machine_of({**POD, "status": status}, trusts_loopback=False).address is None


def test_without_a_direct_address_the_mapping_of_port_22_is_used() -> None:
    http = {"private": 8188, "public": 1, "type": "http", "ip": "100.65.1.2"}
    ssh = {"private": 22, "public": 12890, "type": "tcp", "ip": "8.8.8.8"}
    assert machine_of(_ports(http, ssh), trusts_loopback=False).address == Address("8.8.8.8", 12890)


@pytest.mark.parametrize("ip", ["100.64.0.9", "10.0.0.1", "192.168.1.1", "169.254.1.1", "", None])
def test_an_address_nobody_can_dial_is_none(ip: str | None) -> None:
    port = {"private": 22, "public": 12890, "type": "tcp", "ip": ip}
    assert machine_of(_ports(port), trusts_loopback=True).address is None


def test_a_loopback_address_counts_only_beside_a_loopback_api() -> None:
    pod = {**POD, "ssh": {"direct": {"host": "127.0.0.1", "port": 2200, "username": "root"}}}
    assert machine_of(pod, trusts_loopback=False).address is None
    assert machine_of(pod, trusts_loopback=True).address == Address("127.0.0.1", 2200)


@pytest.mark.parametrize("runtime", [None, {}, {"ports": None}, {"ports": [None, {}]}])
def test_a_partial_pod_is_no_error(runtime: Any) -> None:
    pod = {"id": "p", "status": "RUNNING", "ssh": None, "runtime": runtime, "gpu": {"id": "x"}}
    assert machine_of(pod, trusts_loopback=False).address is None


def test_a_pod_that_came_back_without_a_gpu_shows_it() -> None:
    assert machine_of({**POD, "gpu": None}, trusts_loopback=False).gpu_count == 0
    assert machine_of({**POD, "gpu": {"id": "x", "count": 0}}, trusts_loopback=False).gpu_count == 0


def _provider(url: str, key: Secret | None = None, **more: Any) -> RunpodProvider:
    key = key or Secret("rpa_0123456789")
    return RunpodProvider(RunpodApi(Http(url, key=key, timeout_s=10, sleep=lambda _: None, **more)))


@pytest.fixture
def server() -> Iterator[PodApi]:
    with pod_api() as found:
        yield found


@pytest.fixture
def provider(server: PodApi) -> Iterator[RunpodProvider]:
    found = _provider(server.url)
    yield found
    found.close()


def test_the_body_leaves_nothing_to_a_default(provider: RunpodProvider) -> None:
    assert provider.body(REQUEST, OFFER) == {
        "name": "gpuctl-flux-1",
        "image": "img",
        "cloud": "SECURE",
        "gpu": {"id": "NVIDIA L4", "count": 1, "minCudaVersion": "12.8"},
        "disk": 30,
        "mounts": {"persistent": {"size": 80, "path": "/workspace"}},
        "env": {"PUBLIC_KEY": "ssh-ed25519 AAAA me"},
        "ports": ["22/tcp"],
        "startSsh": True,
    }


def test_a_network_volume_takes_the_place_of_the_pods_own(provider: RunpodProvider) -> None:
    request = MachineRequest("n", "flux", NEED, volume_id="vol1", data_centers=("EU-RO-1",))
    body = provider.body(request, OFFER)
    assert body["mounts"] == {"network": [{"volumeId": "vol1", "path": "/workspace"}]}
    assert body["dataCenterIds"] == ["EU-RO-1"]


def test_a_price_of_zero_means_not_offered(provider: RunpodProvider) -> None:
    offers = provider.offers(NEED, cloud="any", gpu_count=1)
    assert [(offer.gpu_name, offer.cloud) for offer in offers] == [
        ("L4", "SECURE"),
        ("RTX 4090", "SECURE"),
        ("L40S", "SECURE"),
        ("RTX 4090", "COMMUNITY"),
    ]


@pytest.mark.parametrize(
    "detail",
    [
        "There are no longer any instances available with the requested specifications. "
        "Please refresh and try again.",
        "no instances currently available",
        "There are not enough free GPUs on the host machine to start this pod.",
        "this machine does not have the resources to deploy this pod",
    ],
)
def test_every_known_wording_of_no_capacity_is_understood(
    server: PodApi, provider: RunpodProvider, detail: str
) -> None:
    server.script("POST /v2/pods", Answer(400, problem(400, detail)))
    with pytest.raises(NoCapacity, match="L4"):
        provider.create(REQUEST, OFFER)


def test_a_start_on_a_full_host_is_no_capacity_whatever_its_status(
    server: PodApi, provider: RunpodProvider
) -> None:
    server.script("POST /v2/pods/p/action", Answer(409, problem(409, "not enough free GPUs")))
    with pytest.raises(NoCapacity):
        provider.start("p")


def test_ending_what_is_gone_is_success(provider: RunpodProvider) -> None:
    provider.terminate("never-was")


def test_every_provider_is_connected_without_a_call_or_a_key() -> None:
    connected = connect_all(api_url="https://api.runpod.io/v2", api_key=None, timeout_s=1)
    assert list(connected) == list(PROVIDERS) == ["runpod", "host"]
    assert all(connected[name].name == name for name in PROVIDERS)


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with running_simulator(tmp_path_factory.mktemp("simulator") / "sim") as found:
        yield found


@pytest.mark.openapi
def test_a_machines_whole_life_is_as_runpod_describes_it(simulator: Simulator) -> None:
    transport = validating_transport()
    provider = _provider(simulator.api_url, simulator.api_key, transport=transport)
    offer = provider.offers(NEED, cloud="any", gpu_count=1)[0]
    made = provider.create(REQUEST, offer)
    assert made.name == REQUEST.name
    until(lambda: provider.get(made.id).address)
    assert [machine.id for machine in provider.list()] == [made.id]
    assert any(line.source == "system" for line in _some_logs(provider, made.id))
    provider.stop(made.id)
    until(lambda: provider.get(made.id).status == "EXITED")
    provider.start(made.id)
    until(lambda: provider.get(made.id).address)
    provider.restart(made.id)
    provider.terminate(made.id)
    with pytest.raises(NotFound):
        provider.get(made.id)
    assert provider.api.add_ssh_key("ssh-ed25519 AAAAC3Nza me")
    assert provider.api.data_centers()
    assert provider.api.network_volumes() == []
    assert any(line.startswith("POST /v2/pods 201") for line in transport.checked)
    provider.close()


@pytest.mark.openapi
def test_what_the_cloud_refuses_is_described_too(simulator: Simulator) -> None:
    provider = _provider(simulator.api_url, simulator.api_key, transport=validating_transport())
    add_fault(simulator, "no-capacity")
    with pytest.raises(NoCapacity):
        provider.create(REQUEST, OFFER)
    provider.close()


def _some_logs(provider: RunpodProvider, machine_id: str) -> list[Any]:
    return list(provider.logs(machine_id, source="system", tail=50, quiet_s=0.3))
