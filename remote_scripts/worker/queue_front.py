"""One job of RunPod's queue: its claim, its files, its handler, and how its result leaves."""

from __future__ import annotations

import base64
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from worker import claims, s3
from worker.engine import outcome
from worker.layout import Layout
from worker.lines import error_fields
from worker.queue_inputs import Delivery, delivery, put_files
from worker.report import Failure, JobContext

Json = dict[str, Any]
Tell = Callable[[Json, Json], None]

# A result may be 10 MB (facts/workloads.md §0), and base64 adds a third.
INLINE_LIMIT_BYTES = 7_000_000
# A piece of a stream may be 1 MB (facts/runpod.md §4).
STREAMED_LIMIT_BYTES = 700_000
# Each update costs the SDK a thread and a connection.
PROGRESS_INTERVAL_S = 0.5
LOG_LIMIT = 50


class Front:
    """One job: its folder, its artifacts, and what is told on the way."""

    def __init__(
        self,
        layout: Layout,
        job: Json,
        is_cancelled: Callable[[], bool],
        tell: Tell,
        *,
        is_streamed: bool = False,
    ) -> None:
        self._layout, self._job, self._tell = layout, job, tell
        self._is_cancelled = is_cancelled
        self._limit_bytes = STREAMED_LIMIT_BYTES if is_streamed else INLINE_LIMIT_BYTES
        self._artifacts: list[Json] = []
        self._logs: list[Json] = []
        self._told_at = 0.0
        self._told_stage = ""

    def run(self, workload: str) -> Json:
        """The answer to the queue, an error included. Never raises what a handler may raise."""
        try:
            found = delivery(self._job)
            directory = Path(self._layout.job(found.id))
            holder = claims.claim(directory, found.queue_id)
            if holder != found.queue_id:
                return _failed({**_duplicate(found), "queue_id": holder})
            return self._handled(workload, found, directory)
        except Failure as failure:
            return _failed(error_fields(failure.code, failure.message, failure.remedy))

    def _handled(self, workload: str, found: Delivery, directory: Path) -> Json:
        workspace = Path(self._layout.root)
        put_files(workspace, found.files)
        context = JobContext(found.id, directory, workspace, self._is_cancelled)
        given = {"id": found.id, "input": found.input}
        kind, fields = outcome(workload, given, self._sink, context)
        if kind == "error":
            return _failed(fields)
        self._send_artifacts(workload, found.id, workspace)
        if all("data" in each or "url" in each for each in self._artifacts):
            self._tidy(found, directory)
        metrics = dict(fields["metrics"])
        # A workload may promise more than we do about the shape of its answer.
        response = metrics.pop("response", None)
        more = response if isinstance(response, dict) else {}
        logs = {"logs": self._logs} if self._logs else {}
        return {**more, "artifacts": self._artifacts, "metrics": metrics, **logs}

    def _tidy(self, found: Delivery, directory: Path) -> None:
        """Nothing has to stay but the claim, and that only for a client with an id of its own."""
        if found.id == found.queue_id:
            shutil.rmtree(directory, ignore_errors=True)
        else:
            claims.release(directory)

    def _sink(self, kind: str, fields: Json) -> None:
        if kind == "artifact":
            self._artifacts.append(fields)
        elif kind == "log" and len(self._logs) < LOG_LIMIT:
            self._logs.append(fields)
        elif kind in ("progress", "loading") and self._is_due(str(fields.get("stage"))):
            self._tell(self._job, {"event": kind, **fields})

    def _is_due(self, stage: str) -> bool:
        now = time.monotonic()
        if stage == self._told_stage and now - self._told_at < PROGRESS_INTERVAL_S:
            return False
        self._told_stage, self._told_at = stage, now
        return True

    def _send_artifacts(self, workload: str, job_id: str, workspace: Path) -> None:
        """As base64 `data` as long as all that fits; else as a `url` in the bucket, if there is
        one; else they stay at `workspace_path`, which a network volume keeps. Raises Failure."""
        waiting = [each for each in self._artifacts if "url" not in each]
        is_small = sum(each["bytes"] for each in waiting) <= self._limit_bytes
        for artifact in waiting:
            path = Path(artifact["path"])
            if is_small:
                artifact["data"] = base64.b64encode(path.read_bytes()).decode()
            elif s3.configured():
                key = f"{workload}/{job_id}/{artifact['name']}"
                artifact["url"] = s3.upload(path, key, artifact["media_type"])
                artifact["s3_key"] = key
            else:
                artifact["workspace_path"] = os.path.relpath(path, workspace)


def _duplicate(found: Delivery) -> Json:
    return error_fields("duplicate", f"job {found.id} was given to another run already")


def _failed(fields: Json) -> Json:
    # The platform's `error` is a string; the SDK itself puts JSON there.
    return {"error": json.dumps(fields)}
