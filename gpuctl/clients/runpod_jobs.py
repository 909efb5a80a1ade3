"""RunPod's job API as it is on the wire: one endpoint's queue (facts: runpod.md §4)."""

from __future__ import annotations

import json
from urllib.parse import quote

from gpuctl.clients.http import Http
from gpuctl.errors import ApiError, UsageError
from gpuctl.models import Json

RUN_LIMIT_BYTES = 10 * 1000 * 1000
SHORTEST_WAIT_MS, LONGEST_WAIT_MS = 1000, 300_000


class RunpodJobs:
    """`http.base_url` is that of the endpoint. Errors are those of clients/http.py; a job that is
    not known any more is NotFound: it expired, which says nothing about how it ended."""

    def __init__(self, http: Http) -> None:
        self.http = http

    def run(self, given: Json, policy: Json) -> str:
        """Queues a job and gives RunPod's id for it.

        An ApiError without `status`, or with one from 500 on, means that nobody knows whether it is
        queued, unless `details["sent"]` is False. Raises UsageError for a body that is too large.
        """
        body = {"input": given, "policy": policy}
        size_bytes = len(json.dumps(body))
        if size_bytes > RUN_LIMIT_BYTES:
            raise UsageError(
                f"the job has {size_bytes / 1e6:.1f} MB; RunPod's queue takes "
                f"{RUN_LIMIT_BYTES / 1e6:.0f} MB",
                hint="configure a bucket for large files: gpuctl config set s3.bucket NAME",
            )
        job_id = self.http.send("POST", "/run", body).get("id")
        if not isinstance(job_id, str) or not job_id:
            raise ApiError("RunPod took a job but did not say which")
        return job_id

    def status(self, job_id: str) -> Json:
        return self.http.get(f"/status/{_escaped(job_id)}")

    def stream(self, job_id: str, *, wait_ms: int) -> Json:
        """`{"status", "stream"}`: the pieces nobody has read yet, after up to `wait_ms`.

        Not tried again: a piece is given once.
        """
        bounded_ms = max(SHORTEST_WAIT_MS, min(LONGEST_WAIT_MS, wait_ms))
        return self.http.send("GET", f"/stream/{_escaped(job_id)}?wait={bounded_ms}")

    def cancel(self, job_id: str) -> Json:
        return self.http.send("POST", f"/cancel/{_escaped(job_id)}")

    def retry(self, job_id: str) -> Json:
        """The same job again, under the same id; only one that failed or took too long."""
        return self.http.send("POST", f"/retry/{_escaped(job_id)}")

    def purge(self) -> int:
        """Removes what waits, and gives how many those were; what runs goes on."""
        return int(self.http.send("POST", "/purge-queue").get("removed") or 0)

    def health(self) -> Json:
        """`{"jobs", "workers"}`: how many there are in which state."""
        return self.http.get("/health")


def _escaped(text: str) -> str:
    return quote(text, safe="")
