"""The simulator speaks RunPod's REST v2 as the official description has it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from gpuctl.sim.launcher import Simulator, add_fault, clear_faults
from tests.sim.ssh_client import Login
from tests.support.openapi import ValidatingTransport, validating_transport
from tests.support.simulator import a_running_pod, api_client, order, until_running

A_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me@home"


@pytest.fixture
def transport() -> ValidatingTransport:
    return validating_transport()


@pytest.fixture
def strict(
    shared: Simulator, client: httpx.Client, transport: ValidatingTransport
) -> Iterator[httpx.Client]:
    """Every request and response is validated; `client` cleans up afterwards."""
    with api_client(shared, transport) as found:
        yield found


def act(client: httpx.Client, pod_id: str, action: str) -> httpx.Response:
    return client.post(f"/pods/{pod_id}/action", json={"action": action})


@pytest.mark.openapi
def test_a_pods_whole_life_is_as_described(
    strict: httpx.Client, transport: ValidatingTransport
) -> None:
    body = order(
        env={"A": "1"},
        ports=["22/tcp", "8188/http"],
        args="sleep infinity",
        mounts={"persistent": {"size": 20, "path": "/workspace"}},
        startSsh=True,
        dataCenterIds=["EU-RO-1"],
    )
    body["gpu"]["minCudaVersion"] = "12.8"
    created = strict.post("/pods", json=body)
    assert created.status_code == 201
    pod_id = created.json()["id"]
    assert created.json()["status"] == "PROVISIONING"
    assert until_running(strict, pod_id)["dataCenterId"] == "EU-RO-1"
    assert [pod["id"] for pod in strict.get("/pods").json()["pods"]] == [pod_id]
    resume = {"Last-Event-ID": "2026-01-01T00:00:00.000001Z"}
    query = {"source": "system", "tail": "5", "since": "2026-01-01T00:00:00Z"}
    with strict.stream("GET", f"/pods/{pod_id}/logs", params=query, headers=resume) as log:
        assert next(log.iter_lines()).startswith("id: 20")
    assert strict.patch(f"/pods/{pod_id}", json={"name": "other"}).json()["name"] == "other"
    assert act(strict, pod_id, "restart").status_code == 200
    until_running(strict, pod_id)
    stopped = act(strict, pod_id, "stop").json()
    assert (stopped["status"], stopped["cost"], stopped["runtime"]) == ("EXITED", 0.0, None)
    assert act(strict, pod_id, "start").status_code == 200
    assert until_running(strict, pod_id)["gpu"] == {"id": "NVIDIA GeForce RTX 4090", "count": 1}
    assert strict.delete(f"/pods/{pod_id}").status_code == 204
    assert strict.get(f"/pods/{pod_id}").status_code == 404
    assert f"POST /v2/pods/{pod_id}/action 200" in transport.checked


@pytest.mark.openapi
def test_a_pod_without_gpu_is_as_described(strict: httpx.Client) -> None:
    body = order(cpu={"id": "cpu3c", "vcpuCount": 4})
    del body["gpu"]
    pod = strict.post("/pods", json=body).json()
    assert pod["cpu"] == {"id": "cpu3c", "vcpuCount": 4, "memory": 8}


@pytest.mark.openapi
def test_the_catalogue_is_as_described(strict: httpx.Client) -> None:
    plain = strict.get("/catalog/gpus").json()["gpus"]
    assert len(plain) >= 10
    assert "availability" not in plain[0]
    stock = {"include": "AVAILABILITY", "product": "POD", "count": "2", "cloud": "SECURE"}
    by_id = {gpu["id"]: gpu for gpu in strict.get("/catalog/gpus", params=stock).json()["gpus"]}
    assert by_id["NVIDIA L40S"]["availability"] == "HIGH"
    assert {place["id"] for place in by_id["NVIDIA L40S"]["dataCenters"]} >= {"EU-RO-1"}
    one = strict.get("/catalog/gpus/NVIDIA L40S", params=stock | {"countryCodes": "US"}).json()
    assert [place["id"] for place in one["dataCenters"]] == ["US-TX-3", "US-KS-2"]
    community = strict.get("/catalog/gpus", params=stock | {"cloud": "COMMUNITY"}).json()["gpus"]
    assert {gpu["id"]: gpu for gpu in community}["NVIDIA L4"]["availability"] == "NONE"
    assert strict.get("/catalog/gpus/unknown").status_code == 404
    centers = strict.get("/catalog/datacenters", params={"include": "GPU_AVAILABILITY"}).json()
    assert len(centers["dataCenters"]) == 8
    assert strict.get("/catalog/datacenters/EU-RO-1").json()["region"] == "EUROPE"


@pytest.mark.openapi
@pytest.mark.parametrize("alone", [{"include": "AVAILABILITY"}, {"product": "POD"}])
def test_stock_needs_include_and_product_together(
    strict: httpx.Client, alone: dict[str, str]
) -> None:
    assert strict.get("/catalog/gpus", params=alone).status_code == 400


@pytest.mark.openapi
@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/catalog/gpus", {"include": "AVAILABILITY", "product": "POD", "cloud": "ALL"}),
        ("/catalog/gpus", {"include": "AVAILABILITY", "product": "POD", "countryCodes": "us"}),
        ("/catalog/gpus", {"include": "AVAILABILITY", "product": "POD", "count": "0"}),
    ],
)
def test_bad_query_values_are_422(strict: httpx.Client, path: str, params: dict[str, str]) -> None:
    assert strict.get(path, params=params).status_code == 422


@pytest.mark.openapi
def test_keys_are_replaced_whole(strict: httpx.Client) -> None:
    assert strict.put("/account/ssh-keys", json={"keys": [A_KEY]}).json() == {"keys": [A_KEY]}
    assert strict.get("/account/ssh-keys").json() == {"keys": [A_KEY]}
    assert strict.put("/account/ssh-keys", json={"keys": ["nonsense"]}).status_code == 422
    assert strict.put("/account/ssh-keys", json={"keys": []}).json() == {"keys": []}


@pytest.mark.openapi
def test_network_volumes_are_as_described(strict: httpx.Client) -> None:
    made = strict.post(
        "/network-volumes", json={"name": "models", "size": 50, "dataCenter": "EU-RO-1"}
    )
    assert made.status_code == 201
    path = f"/network-volumes/{made.json()['id']}"
    assert strict.get(path).json() == made.json()
    assert strict.patch(path, json={"size": 60}).json()["size"] == 60
    assert strict.patch(path, json={"size": 20}).status_code == 400
    assert strict.patch(path, json={}).status_code == 422
    mounts = {"network": [{"volumeId": made.json()["id"], "path": "/workspace"}]}
    pod = strict.post("/pods", json=order(mounts=mounts)).json()
    assert pod["dataCenterId"] == "EU-RO-1"
    assert strict.delete(path).status_code == 409
    assert strict.post("/pods", json=order(mounts=mounts, cloud="COMMUNITY")).status_code == 400
    strict.delete(f"/pods/{pod['id']}")
    assert strict.delete(path).status_code == 204
    assert strict.get("/network-volumes").json() == {"networkVolumes": []}
    elsewhere = {"name": "x", "size": 10, "dataCenter": "XX-1"}
    assert strict.post("/network-volumes", json=elsewhere).status_code == 400


@pytest.mark.openapi
@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"gpuTypeIds": ["NVIDIA L4"]}, "gpuTypeIds: is not allowed"),
        ({"disk": "20"}, "disk: must be an integer"),
        ({"env": {"A": 1}}, "env: A must be a string"),
        ({"mounts": {"persistent": {"size": 5}}}, "mounts: persistent: path: is required"),
        ({"cloud": "ALL"}, "cloud: must be one of SECURE, COMMUNITY"),
        ({"gpu": {"id": "NVIDIA L4", "count": 0}}, "gpu: count: must be at least 1"),
        ({"name": ""}, "name: must not be empty"),
    ],
)
def test_a_body_that_breaks_the_schema_is_422_and_says_where(
    strict: httpx.Client, changes: dict[str, object], named: str
) -> None:
    answer = strict.post("/pods", json=order(**changes))
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert any(error.startswith(named) for error in answer.json()["errors"])


@pytest.mark.openapi
@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"cpu": {"id": "cpu3c", "vcpuCount": 2}}, "exactly one of gpu or cpu"),
        ({"mounts": {"network": []}}, "must not be empty"),
        ({"gpu": {"id": "NVIDIA H200", "count": 9}}, "no longer any instances available"),
        ({"dataCenterIds": ["AP-JP-1"]}, "no longer any instances available"),
        ({"gpu": {"id": "GeForce 256", "count": 1}}, "unknown gpu"),
    ],
)
def test_a_body_that_breaks_a_rule_is_400(
    strict: httpx.Client, changes: dict[str, object], detail: str
) -> None:
    answer = strict.post("/pods", json=order(**changes))
    assert answer.status_code == 400
    assert detail in answer.json()["detail"]


@pytest.mark.openapi
def test_an_action_that_is_not_valid_now_is_409(strict: httpx.Client) -> None:
    pod = a_running_pod(strict)
    assert act(strict, pod["id"], "start").status_code == 409
    assert act(strict, pod["id"], "explode").status_code == 422
    strict.patch(f"/pods/{pod['id']}", json={"locked": True})
    assert act(strict, pod["id"], "stop").status_code == 409
    assert act(strict, "nosuchpod", "stop").status_code == 404


@pytest.mark.openapi
def test_a_missing_or_wrong_key_is_401(shared: Simulator, transport: ValidatingTransport) -> None:
    for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Bearer ä"}):
        with httpx.Client(base_url=shared.api_url, transport=transport) as nobody:
            raw = {name: value.encode() for name, value in headers.items()}
            assert nobody.get("/pods", headers=raw).status_code == 401


@pytest.mark.openapi
def test_faults_of_the_wire_are_as_described(shared: Simulator, strict: httpx.Client) -> None:
    add_fault(shared, "rate-limit", value="7")
    limited = strict.get("/pods")
    assert (limited.status_code, limited.headers["retry-after"]) == (429, "7")
    add_fault(shared, "insufficient-funds")
    assert strict.post("/pods", json=order()).status_code == 402
    add_fault(shared, "create-500")
    assert strict.post("/pods", json=order("lost")).status_code == 500
    assert [pod["name"] for pod in strict.get("/pods").json()["pods"]] == ["lost"]
    clear_faults(shared)


def test_every_answer_has_a_request_id_and_the_limits(client: httpx.Client) -> None:
    first, second = client.get("/pods"), client.get("/pods")
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert first.headers["ratelimit"].startswith('"minute";r=')
    assert '"hour";q=' in first.headers["ratelimit-policy"]


def test_a_wrong_method_is_405_with_the_right_ones(client: httpx.Client) -> None:
    answer = client.put("/pods", json={})
    assert answer.status_code == 405
    assert {"GET", "POST"} <= set(answer.headers["allow"].split(", "))
    assert answer.json()["title"] == "Method Not Allowed"


def test_the_description_lists_the_paths(shared: Simulator) -> None:
    document = httpx.get(f"{shared.api_url}/openapi.json").json()
    assert {"get", "post"} == set(document["paths"]["/v2/pods"])
    assert "/v2/pods/{id}/logs" in document["paths"]


def test_a_pods_own_key_opens_that_pod_only(
    shared: Simulator, client: httpx.Client, login: Login
) -> None:
    mine, other = a_running_pod(client), a_running_pod(client)
    state = json.loads((shared.folder / "state.json").read_text())
    key = next(pod["key"] for pod in state["pods"] if pod["id"] == mine["id"])
    with httpx.Client(
        base_url=shared.api_url, headers={"Authorization": f"Bearer {key}"}
    ) as within:
        assert within.get("/pods").status_code == 401
        assert within.get(f"/pods/{other['id']}").status_code == 401
        assert act(within, mine["id"], "stop").json()["status"] == "EXITED"
