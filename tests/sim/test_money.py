"""Endpoints and bills of the simulator, held against RunPod's official description."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest
from starlette.datastructures import QueryParams

from gpuctl.models import Json
from gpuctl.sim import billing
from gpuctl.sim.launcher import Simulator
from gpuctl.sim.ledger import Ledger, pod_rates, volume_rates
from tests.support.openapi import validating_transport
from tests.support.simulator import a_running_pod, api_client

ENDPOINT: Json = {
    "name": "gpuctl-tts-1",
    "type": "QUEUE",
    "scaling": {"type": "QUEUE_DELAY", "queueDelay": 4},
    "image": "img",
    "gpu": {"pools": ["ADA_24"], "count": 1},
    "workers": {"min": 2, "max": 3, "idleTimeout": 5},
    "timeout": 60000,
}
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def checked(shared: Simulator, client: httpx.Client) -> Iterator[httpx.Client]:
    with api_client(shared, validating_transport()) as found:
        yield found


@pytest.mark.openapi
def test_endpoints_and_bills_are_as_described(checked: httpx.Client) -> None:
    pod = a_running_pod(checked)
    volume = checked.post(
        "/network-volumes", json={"name": "v", "size": 50, "dataCenter": "EU-RO-1"}
    ).json()
    endpoint = checked.post("/serverless", json=ENDPOINT).json()
    assert checked.get("/serverless").json()["endpoints"][0]["workers"]["min"] == 2
    stopped = checked.patch(f"/serverless/{endpoint['id']}", json={"workers": {"min": 0}}).json()
    assert stopped["workers"] == {"min": 0, "max": 3, "idleTimeout": 5}
    for path, key, thing in (
        ("pods", "podId", pod),
        ("network-volumes", "networkVolumeId", volume),
        ("serverless", "serverlessId", endpoint),
    ):
        bill = checked.get(f"/billing/{path}", params={key: thing["id"], "lastN": 1}).json()
        [record] = bill["records"]
        assert record[key] == thing["id"]
        assert record["totalAmount"] > 0
        assert bill["metadata"]["totals"]["totalAmount"] == record["totalAmount"]
    total = checked.get("/billing").json()["metadata"]["totals"]
    assert total["podGpuAmount"] > 0
    assert total["storageStandardAmount"] > 0
    assert checked.delete(f"/serverless/{endpoint['id']}").status_code == 204
    assert checked.get(f"/serverless/{endpoint['id']}").status_code == 404
    assert checked.delete(f"/network-volumes/{volume['id']}").status_code == 204


@pytest.mark.openapi
def test_a_wrong_question_about_money_is_refused(checked: httpx.Client) -> None:
    both = {"lastN": 2, "startTime": "2026-11-20T00:00:00Z"}
    assert checked.get("/billing/pods", params=both).status_code == 400
    assert checked.get("/billing/pods", params={"bucketSize": "blink"}).status_code == 422
    assert checked.post("/serverless", json={**ENDPOINT, "gpus": 1}).status_code == 422
    unknown = {**ENDPOINT, "gpu": {"pools": ["WOODEN"]}}
    assert checked.post("/serverless", json=unknown).status_code == 400


def test_a_pod_owes_its_gpu_while_it_runs_and_its_disk_also_when_it_is_stopped() -> None:
    clock = [NOON.timestamp()]
    ledger = Ledger([], now=lambda: clock[0])
    pod: Json = {"status": "RUNNING", "gpu_id": "L4", "disk_gb": 30, "mounts": {}}
    pod["mounts"] = {"persistent": {"size": 73, "path": "/workspace"}}
    ledger.observe("pod", {"p": pod_rates(pod, 0.5)})
    clock[0] += 7200
    ledger.observe("pod", {"p": pod_rates({**pod, "status": "EXITED"}, 0.0)})
    clock[0] += 3600
    ledger.observe("pod", {})
    clock[0] += 36000
    owed = ledger.owed("pod", 0, clock[0])["p"]
    assert owed["gpuAmount"] == pytest.approx(1.0)
    assert owed["diskAmount"] == pytest.approx(103 * 0.1 / 730 * 2 + 73 * 0.2 / 730)
    assert Ledger(ledger.records()).owed("pod", 0, clock[0])["p"] == owed


def test_large_volumes_have_two_tiers() -> None:
    standard = volume_rates({"size": 1500, "type": "STANDARD"})["standardAmount"]
    assert standard * 730 == pytest.approx(1000 * 0.07 + 500 * 0.05)


@pytest.mark.parametrize(
    ("query", "edges"),
    [
        ("lastN=2", ["2026-11-20", "2026-11-21", "2026-11-22"]),
        ("lastN=2&bucketSize=month", ["2026-10-01", "2026-11-01", "2026-12-01"]),
        ("lastN=1&bucketSize=week", ["2026-11-16", "2026-11-23"]),
        ("lastN=1&bucketSize=year", ["2026-01-01", "2027-01-01"]),
        (
            "startTime=2026-11-19T05:00:00Z&endTime=2026-11-20T00:00:00Z",
            ["2026-11-19", "2026-11-20"],
        ),
    ],
)
def test_windows_are_widened_to_the_edges_of_their_buckets(query: str, edges: list[str]) -> None:
    found = billing.buckets(QueryParams(query), NOON)
    assert [f"{begin:%F}" for begin, _ in found] + [f"{found[-1][1]:%F}"] == edges
