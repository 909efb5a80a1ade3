"""The same handler under RunPod's real worker SDK, against a job queue on loopback."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.remote_scripts.worker.job_queue import FINAL, JobQueue
from tests.remote_scripts.worker.machine import Worker, until


@pytest.fixture
def endpoint(worker: Worker) -> Iterator[JobQueue]:
    """A queue with one serverless worker on it, in a process group of its own."""
    jobs = JobQueue()
    process = subprocess.Popen(
        [sys.executable, "-B", str(worker.scripts / "run.py"), "serverless", "toy"],
        env={**worker.env, **jobs.environment()},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    yield jobs
    # The SDK leaves a heartbeat child behind (feasibility.md §5): the whole group goes.
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    jobs.close()


def test_a_serverless_job_brings_its_artifact_home_in_the_result(
    worker: Worker, endpoint: JobQueue
) -> None:
    endpoint.put("J1", prompt="a red fox 🦊", seed=7)
    until(lambda: endpoint.jobs["J1"]["status"] in FINAL)
    output = endpoint.jobs["J1"]["output"]
    (made,) = output["artifacts"]
    content = base64.b64decode(made["data"])
    assert content.decode() == "a red fox 🦊"
    assert made["sha256"] == hashlib.sha256(content).hexdigest()
    assert (made["seed"], made["media_type"]) == (7, "text/plain")
    assert output["metrics"]["engine_pid"]
    assert not (worker.workspace / "jobs/J1").exists()


def test_serverless_failures_keep_their_names_and_the_worker_lives(endpoint: JobQueue) -> None:
    endpoint.put("J1", do="refuse")
    endpoint.put("J2", do="blow_up")
    endpoint.put("J3")
    until(lambda: endpoint.jobs["J3"]["status"] in FINAL)
    codes = [json.loads(endpoint.jobs[name]["error"])["code"] for name in ("J1", "J2")]
    assert codes == ["gated", "failed"]
    assert endpoint.jobs["J3"]["status"] == "COMPLETED"


def test_serverless_progress_and_cancellation_reach_the_other_side(
    worker: Worker, endpoint: JobQueue
) -> None:
    endpoint.put("J1", do="wait_for_file", until="never")
    (told,) = until(lambda: endpoint.jobs["J1"]["progress"])
    assert (told["event"], told["stage"]) == ("progress", "waiting")
    endpoint.cancel("J1")
    endpoint.put("J2")
    until(lambda: endpoint.jobs["J2"]["status"] in FINAL)
    assert worker.runs() == ["J1", "J2"]
