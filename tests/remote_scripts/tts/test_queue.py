"""The same handler under RunPod's real worker SDK, against a job queue on loopback."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.remote_scripts.tts.conftest import REMOTE_SCRIPTS, Desk, bucket_environment, probe
from tests.remote_scripts.worker.job_queue import FINAL, JobQueue
from tests.remote_scripts.worker.machine import Worker, events, kill

pytestmark = pytest.mark.ffmpeg
LONG = "The first sentence is here. The second one follows, as it should. And a third ends it."


@pytest.fixture
def serve(desk: Desk) -> Iterator[Any]:
    """Starts workers on one queue, each in a process group of its own."""
    jobs, started = JobQueue(), []

    def start(*argv: str, **variables: str) -> JobQueue:
        process = subprocess.Popen(
            argv or (sys.executable, "-B", str(REMOTE_SCRIPTS / "run.py"), "serverless", "tts"),
            env={
                **os.environ,
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                **jobs.environment(),
                "GPUCTL_WORKSPACE": str(desk.workspace),
                **variables,
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        started.append(process)
        return jobs

    start.processes = started  # type: ignore[attr-defined]
    yield start
    for process in started:
        # The SDK leaves a heartbeat child behind (feasibility.md §5): the whole group goes.
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        finally:
            process.wait()
    jobs.close()


def until(claim: Callable[[], Any], limit_s: float = 60.0) -> None:
    """Waits for `claim()` to hold."""
    deadline = time.monotonic() + limit_s
    while not claim():
        assert time.monotonic() < deadline, "never came true"
        time.sleep(0.02)


def finished(jobs: JobQueue, job_id: str) -> dict[str, Any]:
    until(lambda: jobs.jobs[job_id]["status"] in FINAL)
    job: dict[str, Any] = jobs.jobs[job_id]
    return job


def test_speech_comes_home_inline_with_the_seeds_answer_beside_it(
    serve: Any, tmp_path: Path
) -> None:
    jobs = serve()
    jobs.put("J1", text=LONG, speaker_voice="me", max_chars_per_chunk=50)
    output = finished(jobs, "J1")["output"]
    assert (output["status"], output["filename"]) == ("completed", "J1.ogg")
    assert output["metadata"]["codec"] == "opus"
    (artifact,) = output["artifacts"]
    path = tmp_path / "home.ogg"
    path.write_bytes(base64.b64decode(artifact["data"]))
    assert probe(path)["seconds"] == pytest.approx(output["metadata"]["duration"], abs=0.05)
    assert len(output["metrics"]["chunks"]) >= 3
    told = [piece for piece in jobs.jobs["J1"]["progress"] if piece.get("stage") == "speak"]
    assert told, "progress is told on the way"
    # A bad order fails by name, and the worker goes on; so does the file of the seed itself.
    jobs.put("J2", text="x" * 10_001, speaker_voice="me")
    jobs.put("J3", text="Hello.", speaker_voice="../../etc/passwd")
    jobs.put("J4", health_check=True)
    codes = [json.loads(finished(jobs, name)["error"])["code"] for name in ("J2", "J3")]
    assert codes == ["bad_input", "bad_input"]
    assert finished(jobs, "J4")["output"]["status"] == "healthy"


def test_with_a_bucket_the_answer_is_exactly_what_the_seed_promised(
    serve: Any, bucket_server: str
) -> None:
    """Started by the container's own command: start.sh, bootstrap.sh, python handler.py."""
    jobs = serve("bash", str(REMOTE_SCRIPTS / "tts/start.sh"), **bucket_environment(bucket_server))
    jobs.put("J1", text="Hello from the queue.", speaker_voice="me", session_id="abc")
    output = finished(jobs, "J1")["output"]
    assert (output["status"], output["s3_key"]) == ("completed", "abc.ogg")
    with urllib.request.urlopen(output["url"]) as answer:
        assert answer.read()[:4] == b"OggS"
    assert "data" not in output["artifacts"][0]


def test_a_worker_that_is_killed_in_the_middle_costs_only_the_chunk_it_was_at(
    serve: Any, desk: Desk
) -> None:
    """The queue gives the job to another worker, which finds what the first one had spoken."""
    jobs = serve(GPUCTL_SIM_STEP_S="0.2")
    jobs.put("J1", text=LONG, speaker_voice="me", max_chars_per_chunk=50)
    until(lambda: len(list(desk.home.glob("output_audio/takes/*/*.wav"))) >= 1)
    (first,) = serve.processes
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert jobs.jobs["J1"]["status"] not in FINAL
    shutil.rmtree(desk.workspace / "jobs", ignore_errors=True)  # a container's disk goes with it
    serve()
    jobs.put("J1", text=LONG, speaker_voice="me", max_chars_per_chunk=50)
    parts = finished(jobs, "J1")["output"]["metrics"]["chunks"]
    assert parts[0]["is_kept"]
    assert len(parts) >= 3


def test_the_same_handler_answers_over_ssh(desk: Desk) -> None:
    """The other front: what `gpuctl tts --on MACHINE` runs there."""
    machine = Worker(REMOTE_SCRIPTS, desk.workspace)
    request = {"id": "J1", "input": {"text": "Hello over ssh.", "speaker_voice": "me"}}
    process = subprocess.Popen(
        [sys.executable, "-B", str(REMOTE_SCRIPTS / "run.py"), "submit", "tts"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=machine.env,
    )
    assert process.stdin
    process.stdin.write(json.dumps(request) + "\n")
    process.stdin.flush()
    try:
        found = events(process)
    finally:
        for pid in machine.processes():
            kill(pid)
    assert found[-1]["event"] == "done"
    (artifact,) = [event for event in found if event["event"] == "artifact"]
    assert probe(Path(artifact["path"]))["codec_name"] == "opus"
    assert [e for e in found if e.get("stage") == "speak"]
