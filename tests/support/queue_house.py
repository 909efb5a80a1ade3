"""A simulator whose endpoints run toys under the real worker SDK, and what asks its queues."""

from __future__ import annotations

import shutil
import textwrap
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from gpuctl.models import Json
from gpuctl.resources import bundled
from gpuctl.sim.launcher import Simulator
from tests.support.simulator import api_client, running_simulator, until

TOY = Path(__file__).parents[1] / "remote_scripts/worker/toy_handler.py"
FINAL = ("COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT")
# More of what a handler may do: read a file that came with the job, make a large one, say more.
READER = """
    from worker import report

    def handler(job):
        given = job["input"]
        with (report.workspace() / "ran.txt").open("a") as log:
            log.write(job["id"] + "\\n")
        content = b"x" * int(given.get("bytes", 0))
        if "file" in given:
            content += report.inside_workspace(given["file"]).read_bytes()
        report.log("read it", "warning")
        with report.write_artifact("copy.bin", "application/octet-stream", index=0) as part:
            part.write_bytes(content)
        return {"response": {"status": "success", "url": "here"}, "read": len(content)}
"""
# One that takes its time, so that it can be killed in the middle.
SLOW = """
    import time
    from worker import report

    def handler(job):
        report.progress("half", 1, 2)
        time.sleep(0.3)
        with report.write_artifact("said.txt", "text/plain") as part:
            part.write_text(job["input"]["prompt"])
        return {}
"""
# One that yields: its pieces travel on the stream.
TALKER = """
    from worker import report

    def handler(job):
        for word in range(3):
            yield {"stage": f"word-{word}", "done": word, "total": 3}
        with report.write_artifact("said.txt", "text/plain") as part:
            part.write_text("three words")
        return {"words": 3}
"""


def scripts(target: Path) -> Path:
    """What the images would hold: the worker, and four toys as workloads."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(bundled("remote_scripts") / "worker", target / "worker", ignore=ignore)
    shutil.copy(bundled("remote_scripts") / "run.py", target / "run.py")
    for name, text in (("reader", READER), ("slow", SLOW), ("talker", TALKER)):
        (target / name).mkdir()
        (target / name / "handler.py").write_text(textwrap.dedent(text), encoding="utf-8")
    (target / "toy").mkdir()
    shutil.copy(TOY, target / "toy/handler.py")
    return target


@dataclass(frozen=True)
class House:
    """`client` speaks to REST v2 and, by whole addresses, to the job API."""

    simulator: Simulator
    client: httpx.Client

    @property
    def folder(self) -> Path:
        return self.simulator.folder

    def endpoint(self, workload: str | None = "toy", **changes: Any) -> Json:
        """Without a `workload` its workers are pretended, and take no jobs."""
        body: Json = {
            "name": f"gpuctl-{workload or 'none'}-{uuid.uuid4().hex}",
            "type": "QUEUE",
            "image": "gpuctl/toy:1",
            "gpu": {"pools": ["ADA_24"]},
            "scaling": {"type": "QUEUE_DELAY", "queueDelay": 0.5},
            "workers": {"min": 0, "max": 1, "idleTimeout": 600},
            "timeout": 60_000,
            "env": {"GPUCTL_WORKLOAD": workload} if workload else {},
            **changes,
        }
        answer = self.client.post("/serverless", json=body)
        assert answer.status_code == 201, answer.text
        found: Json = answer.json()
        return found

    def ask(self, endpoint: Json, operation: str, job: str = "", **params: Any) -> httpx.Response:
        url = str(endpoint["requestUrls"][operation]).replace("{job_id}", job)
        return self.client.get(url, params=params)

    def order(self, endpoint: Json, operation: str, job: str = "", **body: Any) -> httpx.Response:
        url = str(endpoint["requestUrls"][operation]).replace("{job_id}", job)
        return self.client.post(url, json=body or None)

    def run(self, endpoint: Json, **given: Any) -> str:
        return str(self.order(endpoint, "run", input=given).json()["id"])

    def ended(self, endpoint: Json, job: str) -> Json:
        """The job's last status."""

        def look() -> Json | None:
            found: Json = self.ask(endpoint, "status", job).json()
            return found if found.get("status") in FINAL else None

        return until(look)

    def summary(self, endpoint: Json) -> Json:
        found: Json = self.client.get(f"/serverless/{endpoint['id']}/workers").json()["summary"]
        return found

    def workspaces(self, endpoint: Json) -> list[Path]:
        return list((self.folder / "endpoints" / endpoint["id"]).glob("*/workspace"))

    def runs(self, endpoint: Json) -> list[str]:
        """The ids of the jobs as the handlers saw them, once for each run."""
        files = (space / "ran.txt" for space in self.workspaces(endpoint))
        lines = [line for file in files if file.exists() for line in file.read_text().splitlines()]
        return [line.split()[0] for line in lines]


@contextmanager
def serving(folder: Path, **settings: str) -> Iterator[House]:
    """Ends with every process gone."""
    toys = scripts(folder / "scripts")
    with (
        running_simulator(folder / "sim", scripts=str(toys), **settings) as simulator,
        api_client(simulator) as client,
    ):
        yield House(simulator, client)
