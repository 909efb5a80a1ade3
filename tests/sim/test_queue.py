"""Serverless endpoints in the simulator: real workers of the real SDK, a queue with its limits."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from gpuctl.models import Json
from gpuctl.sim.launcher import add_fault, clear_faults
from tests.support.queue_house import House, serving
from tests.support.simulator import until


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with serving(tmp_path_factory.mktemp("queue")) as found:
        yield found


@pytest.fixture(scope="module")
def toy(house: House) -> Json:
    """One endpoint with one warm worker, for the tests that break nothing."""
    return house.endpoint(workers={"min": 1, "max": 1, "idleTimeout": 600})


def test_a_job_goes_from_the_queue_through_a_real_worker_to_its_result(
    house: House, toy: Json
) -> None:
    ended = house.ended(toy, house.run(toy, prompt="a fox"))
    assert ended["status"] == "COMPLETED"
    (artifact,) = ended["output"]["artifacts"]
    assert base64.b64decode(artifact["data"]) == b"a fox"
    assert ended["delayTime"] >= 0
    assert ended["executionTime"] >= 0
    assert ended["workerId"] in [
        row["id"] for row in house.client.get(f"/serverless/{toy['id']}/workers").json()["workers"]
    ]


def test_a_synchronous_job_is_answered_at_its_end(house: House, toy: Json) -> None:
    answer = house.order(toy, "runSync", input={"prompt": "now"}).json()
    assert answer["id"].startswith("sync-")
    assert answer["status"] == "COMPLETED"


def test_a_failure_has_the_handlers_own_words_and_can_be_tried_again(
    house: House, toy: Json
) -> None:
    job = house.run(toy, do="refuse")
    assert "gated" in house.ended(toy, job)["error"]
    assert house.order(toy, "retry", job).json() == {"id": job, "status": "IN_QUEUE"}
    assert house.ended(toy, job)["status"] == "FAILED"
    done = house.run(toy)
    assert house.ended(toy, done)["status"] == "COMPLETED"
    assert house.order(toy, "retry", done).status_code == 400


def test_a_running_job_is_cancelled_on_its_worker(house: House, toy: Json) -> None:
    job = house.run(toy, do="wait_for_file", until="never")
    until(lambda: house.ask(toy, "status", job).json().get("output"))  # it has reported
    assert house.order(toy, "cancel", job).json()["status"] == "CANCELLED"
    after = house.run(toy)
    assert house.ended(toy, after)["status"] == "COMPLETED"  # the worker is free again
    assert house.ask(toy, "status", job).json()["status"] == "CANCELLED"


def test_the_limits_of_the_job_api_hold(house: House, toy: Json) -> None:
    assert house.ask(toy, "status", "nobody").status_code == 404
    assert house.order(toy, "run", inputs={}).status_code == 400
    assert house.order(toy, "run", input={}, policy={"ttl": 9999}).status_code == 400
    assert house.order(toy, "run", input={"x": "y" * (10 * 2**20)}).status_code == 413
    assert house.ask(toy, "stream", house.run(toy), wait=999).status_code == 400
    assert [house.order(toy, "purgeQueue").status_code for _ in range(3)] == [200, 200, 429]


def test_a_handler_that_yields_is_read_piece_by_piece(house: House) -> None:
    talker = house.endpoint("talker")
    job = house.run(talker)
    pieces: list[str] = []

    def look() -> bool:
        answer = house.ask(talker, "stream", job, wait=1000).json()
        pieces.extend(piece["output"].get("stage", "result") for piece in answer["stream"])
        return answer["status"] == "COMPLETED" and not answer["stream"]

    until(look)
    assert pieces == ["word-0", "word-1", "word-2", "result"]
    assert house.ask(talker, "stream", job, wait=1000).json()["stream"] == []  # read once
    *_, last = house.ask(talker, "status", job).json()["output"]
    assert last["metrics"]["words"] == 3


def test_workers_come_with_the_queue_go_with_it_and_are_billed_for_that(house: House) -> None:
    workers = {"min": 0, "max": 3}
    rule = {"type": "REQUEST_COUNT", "requestCount": 2}
    endpoint = house.endpoint(None, scaling=rule, workers=workers)
    for _ in range(5):
        house.run(endpoint)
    until(lambda: house.summary(endpoint)["total"] == 3)
    change = {"workers": {"min": 1, "max": 3}}
    assert house.client.patch(f"/serverless/{endpoint['id']}", json=change).status_code == 200
    assert house.order(endpoint, "purgeQueue").json()["removed"] == 5
    faster: Json = {"scaling": {"type": "QUEUE_DELAY", "queueDelay": 1}}
    faster |= {"workers": {"min": 1, "max": 3, "idleTimeout": 1}}
    house.client.patch(f"/serverless/{endpoint['id']}", json=faster)
    until(lambda: house.summary(endpoint)["total"] == 1)
    records = house.client.get("/billing/serverless", params={"bucketSize": "hour"}).json()
    (mine,) = [each for each in records["records"] if each["serverlessId"] == endpoint["id"]]
    assert mine["gpuAmount"] > 0
    house.client.patch(f"/serverless/{endpoint['id']}", json={"workers": {"min": 0, "max": 0}})
    until(lambda: house.summary(endpoint)["total"] == 0)


def test_workers_that_crash_and_workers_without_a_gpu_look_different(house: House) -> None:
    broken = house.endpoint()
    add_fault(house.simulator, "worker-crash-loop")
    job = house.run(broken)
    until(lambda: house.summary(broken)["unhealthy"] == 1)
    clear_faults(house.simulator)
    assert house.ended(broken, job)["status"] == "COMPLETED"
    (row,) = house.client.get(f"/serverless/{broken['id']}/workers").json()["workers"]
    log = (house.folder / "endpoints" / broken["id"] / row["id"] / "log.ndjson").read_text()
    assert "no kernel image is available" in log

    short = house.endpoint(None)
    add_fault(house.simulator, "no-workers")
    house.run(short)
    until(lambda: house.summary(short)["throttled"] == 1)
    clear_faults(house.simulator)
    until(lambda: house.summary(short)["throttled"] == 0)


def test_a_job_whose_worker_is_killed_is_given_to_another_and_ends_once(house: House) -> None:
    endpoint = house.endpoint()
    add_fault(house.simulator, "worker-killed")
    job = house.run(endpoint, do="wait_for_file", until="go")
    until(lambda: house.ask(endpoint, "status", job).json().get("retries") == 1)
    until(lambda: house.ask(endpoint, "status", job).json()["status"] == "IN_PROGRESS")
    for workspace in house.workspaces(endpoint):
        (workspace / "go").touch()
    assert house.ended(endpoint, job)["status"] == "COMPLETED"
    assert house.ask(endpoint, "health").json()["jobs"]["completed"] == 1


def test_a_changed_image_is_a_release_and_replaces_the_workers(house: House) -> None:
    endpoint = house.endpoint(None, workers={"min": 2, "max": 2, "idleTimeout": 5})
    path = f"/serverless/{endpoint['id']}"
    old = {row["id"] for row in house.client.get(f"{path}/workers").json()["workers"]}
    house.client.patch(path, json={"image": "gpuctl/toy:2"})
    until(lambda: house.client.get(f"{path}/releases").json()["rollout"]["percentOnLatest"] == 100)
    answer = house.client.get(f"{path}/releases").json()
    assert [each["version"] for each in answer["releases"]] == [2, 1]
    (diff,) = answer["releases"][0]["diff"]
    assert diff == {"field": "image", "old": "gpuctl/toy:1", "new": "gpuctl/toy:2"}
    new = {row["id"] for row in house.client.get(f"{path}/workers").json()["workers"]}
    assert not old & new


def test_results_are_forgotten_and_jobs_outlive_the_simulators_restart(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("forgetful")
    with serving(folder, result_life_s="1.5") as house:
        endpoint = house.endpoint()
        job = house.run(endpoint)
        assert house.ended(endpoint, job)["status"] == "COMPLETED"
        until(lambda: house.ask(endpoint, "status", job).status_code == 404)
        paused = {"workers": {"min": 0, "max": 0}}
        house.client.patch(f"/serverless/{endpoint['id']}", json=paused)
        waiting = house.run(endpoint, prompt="later")
    (folder / "scripts").rename(folder / "old-scripts")
    with serving(folder) as house:
        endpoint = house.client.get(f"/serverless/{endpoint['id']}").json()
        assert house.ask(endpoint, "status", waiting).json()["status"] == "IN_QUEUE"


def test_a_worker_sees_neither_the_account_nor_another_endpoint(house: House, toy: Json) -> None:
    key = house.simulator.api_key.reveal()
    (workspace,) = house.workspaces(toy)
    environs = _environments(workspace)
    assert environs
    assert all(key.encode() not in environ for environ in environs)
    base = house.simulator.api_url.removesuffix("/v2")
    url = f"{base}/worker/v2/{toy['id']}/job-take/me?gpu=x"
    assert house.client.get(url).status_code == 401  # the account's key does not work here either


def _environments(workspace: object) -> list[bytes]:
    from pathlib import Path

    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            content = path.read_bytes()
        except OSError:
            continue
        if f"GPUCTL_WORKSPACE={workspace}".encode() in content.split(b"\0"):
            found.append(content)
    return found
