"""The handler under RunPod's real worker SDK, on a queue on loopback, the WebUI beside it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.remote_scripts.worker.job_queue import FINAL, JobQueue
from tests.remote_scripts.worker.machine import until
from tests.support.a1111_server import REMOTE_SCRIPTS, StandIn, stand_in

SMALL = {"width": 64, "height": 64, "steps": 2, "seed": 7}


class Endpoint:
    """A queue, one worker on it, and the WebUI that the worker drives."""

    def __init__(self, queue: JobQueue, webui: StandIn, workspace: Path) -> None:
        self.queue, self.webui, self.workspace = queue, webui, workspace
        self._jobs = 0

    def run(self, **given: Any) -> dict[str, Any]:
        """The job as the queue keeps it, once it is over."""
        self._jobs += 1
        name = f"J{self._jobs}"
        self.queue.put(name, **given)
        until(lambda: self.queue.jobs[name]["status"] in FINAL, name)
        found: dict[str, Any] = self.queue.jobs[name]
        return found


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    workspace = tmp_path_factory.mktemp("workspace")
    with stand_in() as webui:
        jobs = JobQueue()
        process = subprocess.Popen(
            [sys.executable, "-B", str(REMOTE_SCRIPTS / "run.py"), "serverless", "sd"],
            env={
                **os.environ,
                **jobs.environment(),
                "GPUCTL_WORKSPACE": str(workspace),
                "GPUCTL_SD_WEBUI_URL": webui.url,
                "GPUCTL_SD_READY_S": "1",
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        yield Endpoint(jobs, webui, workspace)
        # The SDK leaves a heartbeat child behind (feasibility.md §5): the whole group goes.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        jobs.close()


def test_an_outsider_gets_what_the_webui_answered_and_gpuctl_gets_files(endpoint: Endpoint) -> None:
    output = endpoint.run(api="txt2img", prompt="a portrait", **SMALL)["output"]
    (image,) = output["images"]
    (artifact,) = output["artifacts"]
    assert json.loads(output["info"])["seed"] == 7
    assert output["parameters"]["steps"] == 2
    assert artifact["data"] == image
    assert artifact["sha256"] == hashlib.sha256(base64.b64decode(image)).hexdigest()
    ours = endpoint.run(caller="gpuctl", prompt="a portrait", **SMALL)["output"]
    assert "images" not in ours
    assert ours["artifacts"][0]["data"] == image
    assert ours["metrics"]["model"] == "model"


def test_lists_come_at_the_top_of_the_output_as_the_seeds_callers_read_them(
    endpoint: Endpoint,
) -> None:
    loras = endpoint.run(api="getLoras")["output"]["loras"]
    assert [row["name"] for row in loras][:2] == ["lcm", "style"]
    done = endpoint.run(
        api="setOptions", sd_model_checkpoint="model.safetensors", CLIP_stop_at_last_layers=2
    )
    assert done["output"]["set"]["CLIP_stop_at_last_layers"] == 2
    options = endpoint.run(api="getOptions")["output"]["options"]
    assert options["sd_model_checkpoint"].startswith("model.safetensors")
    endpoint.run(api="setOptions", CLIP_stop_at_last_layers=1)


def test_a_refusal_names_the_lora_and_the_next_job_runs(endpoint: Endpoint) -> None:
    failed = json.loads(endpoint.run(prompt="<lora:lmc:1>", **SMALL)["error"])
    assert (failed["code"], failed["message"]) == ("model_missing", "there is no LoRA 'lmc'")
    assert endpoint.run(prompt="x", **SMALL)["status"] == "COMPLETED"


def test_steps_reach_the_other_side_while_it_paints(endpoint: Endpoint) -> None:
    endpoint.webui.faults(step_s=0.05)
    job = endpoint.run(prompt="x", **{**SMALL, "steps": 40})
    endpoint.webui.faults()
    steps = [told for told in job["progress"] if told["stage"] == "denoise"]
    assert steps
    assert all(told["total"] == 40 for told in steps)


def test_pictures_beyond_the_result_are_left_on_the_volume_and_not_lost(
    endpoint: Endpoint,
) -> None:
    # After one step there is noise, which no compression makes smaller: 3 MB of base64 each.
    endpoint.run(api="setOptions", return_grid=False)
    order = {"prompt": "x", "steps": 1, "width": 1024, "height": 1024, "n_iter": 4, "seed": 1}
    output = endpoint.run(**order)["output"]
    endpoint.run(api="setOptions", return_grid=True)
    assert output["images"] == []
    assert len(output["artifacts"]) == 4
    first = output["artifacts"][0]
    left = endpoint.workspace / first["workspace_path"]
    assert hashlib.sha256(left.read_bytes()).hexdigest() == first["sha256"]
    assert any("too much for one answer" in row["message"] for row in output["logs"])


def test_a_crash_of_the_webui_ends_the_job_by_name_and_the_next_one_says_that_it_is_gone(
    endpoint: Endpoint,
) -> None:
    endpoint.webui.faults(step_s=0.02, crash_at_step=3)
    crashed = json.loads(endpoint.run(prompt="x", **{**SMALL, "steps": 100})["error"])
    assert crashed["code"] == "worker_died"
    gone = json.loads(endpoint.run(prompt="x", **SMALL)["error"])
    assert gone["message"].startswith("no WebUI answers")
