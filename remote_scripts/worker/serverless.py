"""The RunPod serverless front: the same handler under RunPod's own worker SDK."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from worker.engine import outcome
from worker.layout import Layout, is_id
from worker.lines import error_fields
from worker.report import JobContext

Json = dict[str, Any]

# A result may be 10 MB (facts/workloads.md §0), and base64 adds a third.
INLINE_LIMIT_BYTES = 7_000_000
# Each update costs the SDK a thread and a connection.
PROGRESS_INTERVAL_S = 0.5


def main(_verb: str, argv: list[str]) -> int:
    """`serverless WORKLOAD [--rp_…]`: hands the process over to the SDK."""
    import runpod  # type: ignore[import-untyped]  # the machine's own; 1.4 s

    if not argv:
        sys.stderr.write("usage: run.py serverless WORKLOAD\n")
        return 2
    layout, workload = Layout.from_environment(), argv[0]
    os.environ.setdefault("HF_HOME", f"{layout.root}/.cache")
    sys.argv = [sys.argv[0], *argv[1:]]
    tell: Callable[[Json, Json], None] = runpod.serverless.progress_update

    async def handle(job: Json) -> Json:
        return await run_beside_loop(layout, workload, job, tell)

    runpod.serverless.start({"handler": handle})
    return 0


async def run_beside_loop(
    layout: Layout, workload: str, job: Json, tell: Callable[[Json, Json], None]
) -> Json:
    """Runs one job in a thread, so that a cancellation can reach the loop meanwhile."""
    cancelled = threading.Event()
    front = _Front(layout, job, cancelled, tell)
    work = asyncio.ensure_future(asyncio.to_thread(front.run, workload))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        cancelled.set()
        # The GPU is taken until the handler has seen it: the next job must not start before.
        await asyncio.wait([work])
        raise


class _Front:
    """One job: its folder, its artifacts, and what is told on the way."""

    def __init__(
        self,
        layout: Layout,
        job: Json,
        cancelled: threading.Event,
        tell: Callable[[Json, Json], None],
    ) -> None:
        self._layout, self._job, self._cancelled, self._tell = layout, job, cancelled, tell
        self._artifacts: list[Json] = []
        self._told_at = 0.0
        self._told_stage = ""

    def run(self, workload: str) -> Json:
        if not is_id(self._job["id"]):
            return _failed(error_fields("bad_input", f"not a job id: {self._job['id']!r}"))
        context = JobContext(
            id=self._job["id"],
            directory=Path(self._layout.job(self._job["id"])),
            workspace=Path(self._layout.root),
            is_cancelled=self._cancelled.is_set,
        )
        given = {"id": self._job["id"], "input": self._job["input"]}
        kind, fields = outcome(workload, given, self._sink, context)
        if kind == "error":
            return _failed(fields)
        result = {"artifacts": self._inlined(), "metrics": fields["metrics"]}
        if all("data" in artifact for artifact in self._artifacts):
            shutil.rmtree(context.directory, ignore_errors=True)
        return result

    def _sink(self, kind: str, fields: Json) -> None:
        if kind == "artifact":
            self._artifacts.append(fields)
        elif kind in ("progress", "loading") and self._is_due(str(fields.get("stage"))):
            self._tell(self._job, {"event": kind, **fields})

    def _is_due(self, stage: str) -> bool:
        now = time.monotonic()
        if stage == self._told_stage and now - self._told_at < PROGRESS_INTERVAL_S:
            return False
        self._told_stage, self._told_at = stage, now
        return True

    def _inlined(self) -> list[Json]:
        """The artifacts, with their bytes as base64 `data` as long as all that fits."""
        if sum(artifact["bytes"] for artifact in self._artifacts) <= INLINE_LIMIT_BYTES:
            for artifact in self._artifacts:
                content = Path(artifact["path"]).read_bytes()
                artifact["data"] = base64.b64encode(content).decode()
        return self._artifacts


def _failed(fields: Json) -> Json:
    # The platform's `error` is a string; the SDK itself puts JSON there.
    return {"error": json.dumps(fields)}
