"""The account beyond its machines, each request and answer held against RunPod's description."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from gpuctl.clients.http import Http
from gpuctl.clients.runpod_api import RunpodApi
from gpuctl.errors import ApiError
from gpuctl.holdings import VolumeOrder
from gpuctl.models import Json, Secret
from gpuctl.providers.runpod_account import RunpodAccount, volume_holding
from gpuctl.sim.launcher import Simulator
from tests.sim.test_money import ENDPOINT
from tests.support.openapi import ValidatingTransport, validating_transport
from tests.support.pod_api import Answer, pod_api
from tests.support.simulator import a_running_pod, api_client, simulator

__all__ = ["simulator"]

KEY = Secret("rpa_0123456789")


@pytest.fixture
def transport() -> ValidatingTransport:
    return validating_transport()


@pytest.fixture
def account(simulator: Simulator, transport: ValidatingTransport) -> Iterator[RunpodAccount]:
    http = Http(
        simulator.api_url,
        key=simulator.api_key,
        timeout_s=10,
        sleep=lambda _: None,
        transport=transport,
    )
    yield RunpodAccount(RunpodApi(http))
    http.close()


@pytest.mark.openapi
def test_the_whole_account_is_read_and_changed_as_described(
    account: RunpodAccount, simulator: Simulator, transport: ValidatingTransport
) -> None:
    volume = account.create_volume(VolumeOrder("models", 50, "EU-RO-1"))
    assert account.resize_volume(volume.id, 60).size_gb == 60
    mount = {"network": [{"volumeId": volume.id, "path": "/workspace"}]}
    with api_client(simulator) as client:
        pod = a_running_pod(client, mounts=mount, env={"A": "b", "PUBLIC_KEY": "ssh-ed25519 A"})
        client.post("/serverless", json=ENDPOINT)
    [listed] = account.volumes()
    assert (listed.attached_to, volume_holding(listed).status) == (("gpuctl-test",), "ATTACHED")
    [endpoint] = account.endpoints()
    assert endpoint.usd_h == pytest.approx(2 * 1.10, abs=0.01)
    past = account.past_order(pod["id"])
    assert (past.request.volume_id, past.request.env) == (volume.id, {"A": "b"})
    assert (past.request.public_key, past.gpu_id) == ("ssh-ed25519 A", "NVIDIA GeForce RTX 4090")
    account.unlock(pod["id"])
    start = f"{datetime.now(UTC):%Y-%m-%dT00:00:00Z}"
    for kind, thing in (("pod", pod["id"]), ("endpoint", endpoint.id), ("volume", volume.id)):
        [bill] = account.bills(kind, start=start, bucket="day")
        assert bill.id == thing
        assert bill.usd > 0
    account.stop_endpoint(endpoint.id)
    assert account.endpoints()[0].usd_h == 0
    account.delete_endpoint(endpoint.id)
    account.delete_endpoint(endpoint.id)
    assert {center.id for center in account.data_centers() if center.has_volumes} > {"EU-RO-1"}
    with api_client(simulator) as client:
        client.delete(f"/pods/{pod['id']}")
    account.delete_volume(volume.id)
    account.delete_volume(volume.id)
    assert account.volumes() == []
    assert f"PATCH /v2/pods/{pod['id']} 200" in transport.checked
    assert f"DELETE /v2/serverless/{endpoint.id} 204" in transport.checked


@pytest.mark.parametrize(
    ("pod", "usd_h"),
    [
        ({"status": "RUNNING", "cost": 0.5, "disk": 73}, 0.51),
        ({"status": "EXITED", "cost": 0.0, "disk": 73}, 0.0),
        (
            {"status": "EXITED", "cost": 0, "mounts": {"persistent": {"size": 73, "path": "/w"}}},
            0.02,
        ),
        ({"status": "RUNNING", "cost": None}, None),
        ({"status": "SOMETHING_NEW", "cost": 1.0}, 1.0),
        ({}, None),
    ],
)
def test_pods_cost_their_storage_too_and_strange_ones_are_not_free(
    pod: Json, usd_h: float | None
) -> None:
    with pod_api() as server:
        server.pods["p"] = {"id": "p", "name": "gpuctl-flux-1", **pod}
        http = Http(server.url, key=KEY, timeout_s=5, sleep=lambda _: None)
        [found] = RunpodAccount(RunpodApi(http)).pods()
        http.close()
    assert found.usd_h == (None if usd_h is None else pytest.approx(usd_h))


def test_a_bill_without_its_list_is_an_error_and_not_nothing() -> None:
    with pod_api() as server:
        http = Http(server.url, key=KEY, timeout_s=5, sleep=lambda _: None)
        server.script("GET /v2/billing", Answer(200, "{}"))
        with pytest.raises(ApiError, match="without the list of records"):
            RunpodAccount(RunpodApi(http)).bills("pod", start="x", bucket="day")
        http.close()
