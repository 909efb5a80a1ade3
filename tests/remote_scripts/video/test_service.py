"""The HTTP service as a process: its queue, its files, its door, and what survives its death."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.comfyui_films import need_ffmpeg, probed, still
from tests.support.comfyui_server import REMOTE_SCRIPTS, ComfyServer
from tests.support.comfyui_service import Service, end_all, service

pytestmark = pytest.mark.ffmpeg
Json = dict[str, Any]
TINY: Json = {"image_path": "inputs/still.png", "width": 128, "height": 128, "length": 5}


@pytest.fixture(scope="module", params=["old", "new"])
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service before each generation of servers, which it starts itself."""
    need_ffmpeg()
    root = tmp_path_factory.mktemp(f"service-{request.param}")
    still(root / "inputs/still.png", (100, 100), (10, 90, 10))
    with service(root, GPUCTL_SIM_COMFYUI=request.param) as found:
        found.until(lambda: found.call("GET", "/health")[0] == 200)
        yield found


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One whose films take a while."""
    need_ffmpeg()
    root = tmp_path_factory.mktemp("slow")
    still(root / "inputs/still.png", (100, 100), (10, 90, 10))
    with service(root, GPUCTL_SIM_STEP_S="0.15") as found:
        found.until(lambda: found.call("GET", "/health")[0] == 200)
        yield found


def finished(found: Service, job_id: str) -> Json:
    def check() -> Json | None:
        status: Json = found.get(f"/status/{job_id}?video=false")
        return status if status["status"] in ("done", "failed", "cancelled") else None

    result: Json = found.until(check)
    return result


def test_a_film_is_asked_for_followed_and_fetched(both: Service, tmp_path: Path) -> None:
    status, answer, _ = both.call("POST", "/generate", {**TINY, "id": "A1", "prompt": "waves"})
    assert (status, answer["job_id"], answer["status"]) == (200, "A1", "queued")
    events = list(both.events("A1"))
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[0]["event"] == "accepted"
    assert events[-1]["event"] == "done"
    artifact = next(event for event in events if event["event"] == "artifact")
    status, content, headers = both.call("GET", "/files/A1")
    assert hashlib.sha256(content).hexdigest() == artifact["sha256"]
    assert headers["etag"] == f'"{artifact["sha256"]}"'
    assert headers["content-type"] == "video/mp4"
    (tmp_path / "a.mp4").write_bytes(content)
    assert probed(tmp_path / "a.mp4")["frames"] == 5
    seed = both.get("/status/A1")
    assert base64.b64decode(seed["video"]) == content, "as the seed's clients expect it"
    assert list(both.events("A1", seq=len(events) - 1)) == events[-1:]


def test_a_part_of_a_file_is_given_where_a_part_is_asked_for(both: Service) -> None:
    both.call("POST", "/generate", {**TINY, "id": "R1"})
    finished(both, "R1")
    _, whole, headers = both.call("GET", "/files/R1")
    status, part, _ = both.call("GET", "/files/R1", Range="bytes=100-199")
    assert (status, part) == (206, whole[100:200])
    status, rest, _ = both.call("GET", "/files/R1", Range="bytes=100-", If_Range=headers["etag"])
    assert (status, rest) == (206, whole[100:])
    status, again, _ = both.call("GET", "/files/R1", Range="bytes=100-", If_Range='"another"')
    assert (status, again) == (200, whole)


@pytest.mark.parametrize(
    "path",
    ["/files/R1/..%2frequest.json", "/files/R1/nothing.mp4", "/files/..%2f..%2fetc", "/status/nope",
     "/jobs/nope/events", "/inputs/..%2f..%2fx", "/files/R1/%2e%2e%2fevents.ndjson"],
)  # fmt: skip
def test_nothing_but_jobs_and_their_artifacts_is_given(path: str, both: Service) -> None:
    status, answer, _ = both.call("GET", path)
    assert status == 404
    assert b"request" not in json.dumps(answer).encode()


def test_the_same_id_again_runs_nothing_twice(both: Service) -> None:
    for _ in range(3):
        assert both.call("POST", "/generate", {**TINY, "id": "T1", "seed": 3})[0] == 200
    finished(both, "T1")
    both.call("POST", "/generate", {**TINY, "id": "T1", "seed": 4})
    events = list(both.events("T1"))
    assert [event["event"] for event in events].count("artifact") == 1
    assert events[-1]["metrics"]["seed"] == 3


def test_two_clients_at_once_each_get_their_own(both: Service) -> None:
    found: dict[str, list[Json]] = {}

    def client(name: str, size: int) -> None:
        both.call("POST", "/generate", {**TINY, "id": name, "width": size, "height": size})
        found[name] = list(both.events(name))

    threads = [threading.Thread(target=client, args=(f"C{n}", 128 + 16 * n)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for n in range(2):
        artifact = next(event for event in found[f"C{n}"] if event["event"] == "artifact")
        assert artifact["width"] == 128 + 16 * n
        assert f"/C{n}/" in artifact["path"]


def test_a_wrong_request_is_refused_at_once_with_what_to_do(both: Service) -> None:
    status, answer, _ = both.call("POST", "/generate", {"prompt": "no image"})
    assert status == 422
    assert answer["error"]["code"] == "bad_input"
    assert "image_path" in answer["error"]["remedy"]
    status, answer, _ = both.call("POST", "/generate", {**TINY, "workflow": {"nodes": []}})
    assert "Export (API)" in answer["error"]["remedy"]
    status, answer, _ = both.call("POST", "/generate", {**TINY, "id": "../x"})
    assert status == 422
    assert both.call("POST", "/generate", {**TINY, "width": "wide"})[0] == 422


def test_an_input_is_stored_under_the_hash_of_what_came(both: Service) -> None:
    content = (both.workspace / "inputs/still.png").read_bytes()
    name = f"{hashlib.sha256(content).hexdigest()}.png"
    assert both.call("HEAD", f"/inputs/{name}")[0] == 404
    assert both.call("PUT", f"/inputs/{name}", content[:-1])[0] == 422
    assert both.call("HEAD", f"/inputs/{name}")[0] == 404, "half of it has no name"
    status, answer, _ = both.call("PUT", f"/inputs/{name}", content)
    assert (status, answer) == (200, {"name": f"inputs/{name}", "bytes": len(content)})
    assert both.call("PUT", "/inputs/anything.png", content)[0] == 422
    both.call("POST", "/generate", {**TINY, "id": "I1", "image_path": f"inputs/{name}"})
    assert finished(both, "I1")["status"] == "done"


def test_what_would_be_queued_can_be_looked_at_first(both: Service) -> None:
    found = both.call("POST", "/validate", {"preset": "quality", "steps": 12})[1]
    assert found["problems"] == []
    assert "s1.cfg=3.5" in found["settable"]
    wrong = both.call("POST", "/validate", {"high_model": "mine.safetensors"})[1]
    assert "'mine.safetensors' is not on the server" in wrong["problems"][0]
    names = [row["name"] for row in both.get("/workflows")["workflows"]]
    assert names == ["wan22_flf2v", "wan22_i2v"]
    listed = both.get("/models")["models"]
    assert {row["folder"] for row in listed} == {
        *("diffusion_models", "loras", "text_encoders", "vae", "clip_vision")
    }


def test_pages_of_other_sites_and_other_names_are_not_answered_without_a_token(
    both: Service,
) -> None:
    assert both.call("GET", "/jobs", Origin="https://evil.example")[0] == 403
    assert both.call("GET", "/jobs", Host="evil.example:8080")[0] == 403
    assert both.call("GET", "/jobs", Host=f"localhost:{both.port}")[0] == 200


def test_fifty_jobs_wait_in_order_and_each_can_be_taken_out(slow: Service) -> None:
    ids = [f"Q{number:02}" for number in range(50)]
    threads = [
        threading.Thread(
            target=slow.call, args=("POST", "/generate", {**TINY, "id": job_id, "seed": n})
        )
        for n, job_id in enumerate(ids)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = slow.get("/jobs")["jobs"]
    assert {row["id"] for row in rows} >= set(ids)
    found = [slow.get(f"/status/{job_id}") for job_id in ids]
    waiting = [row["position"] for row in found if row["status"] == "queued"]
    assert len(waiting) >= 45
    assert len(set(waiting)) >= len(waiting) - 2, "each has a place of its own"
    health = slow.get("/health")
    assert health["queue"]["running"]
    assert health["queue"]["waiting"] >= 45
    answers = [slow.call("DELETE", f"/jobs/{row['job_id']}")[1] for row in found]
    assert sum(answer["cancelled"] for answer in answers) >= 47
    states = [finished(slow, job_id)["status"] for job_id in ids]
    assert states.count("cancelled") >= 47
    assert "failed" not in states


def test_a_running_film_is_cancelled_and_its_server_is_free_again(slow: Service) -> None:
    slow.call("POST", "/generate", {**TINY, "id": "X1", "preset": "quality"})
    for event in slow.events("X1"):
        if event.get("stage") == "denoise" and event.get("done"):
            assert slow.call("DELETE", "/jobs/X1")[1] == {"cancelled": True}
            break
    assert finished(slow, "X1")["status"] == "cancelled"
    assert slow.call("DELETE", "/jobs/X1")[1] == {"cancelled": False}
    assert slow.call("DELETE", "/jobs/unknown")[0] == 404
    port = json.loads((slow.workspace / "run/video.comfyui.json").read_text())["port"]
    server = ComfyServer(slow.workspace, "new")
    server.port = port
    slow.until(lambda: server.running() == [])


def test_a_killed_service_loses_neither_the_running_film_nor_the_waiting_ones(
    slow: Service,
) -> None:
    for number in range(3):
        slow.call("POST", "/generate", {**TINY, "id": f"K{number}", "preset": "hybrid"})
    slow.until(lambda: slow.get("/status/K0")["status"] == "running")
    slow.kill()
    slow.start()
    events = list(slow.events("K0"))
    assert events[-1]["event"] == "done"
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert [finished(slow, f"K{number}")["status"] for number in range(3)] == ["done"] * 3


def test_after_everything_was_killed_the_interrupted_film_is_told_and_the_rest_is_made(
    slow: Service,
) -> None:
    for number in range(2):
        slow.call("POST", "/generate", {**TINY, "id": f"D{number}", "preset": "quality"})
    slow.until(lambda: (slow.get("/status/D0").get("progress") or {}).get("stage") == "denoise")
    slow.kill()
    end_all(slow.workspace)
    slow.start()
    first = finished(slow, "D0")
    assert (first["status"], first["error"]["code"]) == ("failed", "worker_died")
    assert finished(slow, "D1")["status"] == "done"


def test_with_a_token_nobody_is_answered_without_it(tmp_path: Path) -> None:
    still(tmp_path / "w/inputs/still.png", (64, 64), (1, 2, 3))
    with service(tmp_path / "w", SERVICE_TOKEN="right") as found:
        for path in ("/health", "/jobs", "/status/x", "/files/x", "/openapi.json", "/nothing"):
            found.token = None
            status, answer, headers = found.call("GET", path)
            assert (status, headers["www-authenticate"]) == (401, "Bearer")
            assert answer["error"]["code"] == "unauthorized"
            assert found.call("GET", path, Authorization="Bearer wrong")[0] == 401
            assert found.call("GET", path, Authorization="right")[0] == 401
        assert found.call("POST", "/generate", TINY)[0] == 401
        found.token = "right"
        assert found.call("GET", "/jobs", Host="pod-8080.proxy.example")[0] == 200


def test_it_is_not_opened_to_others_without_a_token(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-B", REMOTE_SCRIPTS / "run.py", "service", "video", "--host", "0.0.0.0"],
        env={"PATH": "/usr/bin:/bin", "GPUCTL_WORKSPACE": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert ended.returncode == 2
    assert "SERVICE_TOKEN" in ended.stderr


def test_a_full_disk_is_said_before_anything_is_lost(tmp_path: Path) -> None:
    still(tmp_path / "w/inputs/still.png", (64, 64), (1, 2, 3))
    with service(tmp_path / "w", GPUCTL_SIM_DISK_FULL="1") as found:
        status, answer, _ = found.call("POST", "/generate", TINY)
        assert (status, answer["error"]["code"]) == (507, "disk_full")
        assert "free space" in answer["error"]["remedy"]
        content = b"x" * 1000
        name = f"{hashlib.sha256(content).hexdigest()}.png"
        assert found.call("PUT", f"/inputs/{name}", content)[0] == 507
        assert found.call("HEAD", f"/inputs/{name}")[0] == 404


def test_more_than_it_takes_is_refused_unread(tmp_path: Path) -> None:
    import http.client

    with service(tmp_path / "w") as found:
        connection = http.client.HTTPConnection("127.0.0.1", found.port, timeout=10)
        connection.putrequest("POST", "/generate")
        connection.putheader("Content-Length", str(10**12))
        connection.endheaders()
        assert connection.getresponse().status == 413
        connection.close()
