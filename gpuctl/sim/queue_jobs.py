"""The jobs of one serverless endpoint: waiting, given to a worker, ended, forgotten."""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from gpuctl.models import Json

FINAL = ("COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT")
# How long a result is kept after its end, and a job after its submission (runpod.md §4).
RESULT_LIFE_S, SYNC_RESULT_LIFE_S = 1800.0, 60.0
TTL_S = 86_400.0
# RunPod gives a job back to the queue when its worker is gone, a few times.
MOST_RETRIES = 3


@dataclass(slots=True)
class QueueJob:
    """Times are Unix seconds. `result_life_s` counts from the end, `ttl_s` from the submission."""

    id: str
    input: Json
    submitted_at: float
    ttl_s: float = TTL_S
    execution_limit_s: float = 600.0
    result_life_s: float = RESULT_LIFE_S
    low_priority: bool = False
    status: str = "IN_QUEUE"
    worker: str | None = None
    started_at: float | None = None
    ended_at: float | None = None
    retries: int = 0
    output: Any = None
    error: str | None = None
    stream: list[Any] = field(default_factory=list)

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    def is_forgotten(self, now: float) -> bool:
        if now - self.submitted_at > self.ttl_s:
            return True
        return self.ended_at is not None and now - self.ended_at > self.result_life_s

    def as_json(self) -> Json:
        """What `/status` says of it."""
        said: Json = {"id": self.id, "status": self.status}
        if self.started_at is not None:
            said["delayTime"] = round((self.started_at - self.submitted_at) * 1000)
            said["workerId"] = self.worker
        if self.started_at is not None and self.ended_at is not None:
            said["executionTime"] = round((self.ended_at - self.started_at) * 1000)
        if self.retries:
            said["retries"] = self.retries
        if self.output is not None:
            said["output"] = self.output
        if self.error is not None:
            said["error"] = self.error
        return said


class QueueJobs:
    """Safe to use from every thread. A final state is never overwritten."""

    def __init__(
        self,
        records: Iterable[Json] = (),
        *,
        result_life_s: float = RESULT_LIFE_S,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._jobs = {record["id"]: QueueJob(**record) for record in records}
        self._result_life_s = result_life_s
        self._now = now
        self._lock = threading.RLock()
        # In the order of arrival; a job that was cancelled or purged meanwhile is passed over.
        self._waiting = deque(job.id for job in self._jobs.values() if job.status == "IN_QUEUE")
        self._to_stop: dict[str, list[str]] = {}
        self._counts = {"completed": 0, "failed": 0, "retried": 0}
        for job in self._jobs.values():
            if job.status == "IN_PROGRESS":  # its worker ended with the simulator
                self._put_back(job)

    def records(self) -> list[Json]:
        with self._lock:
            return [asdict(job) for job in self._alive()]

    # the client's side

    def add(self, given: Json, *, is_sync: bool = False, **terms: Any) -> QueueJob:
        job_id = f"{'sync-' if is_sync else ''}{uuid.uuid4()}-u1"
        life_s = SYNC_RESULT_LIFE_S if is_sync else self._result_life_s
        job = QueueJob(job_id, given, self._now(), result_life_s=life_s, **terms)
        with self._lock:
            self._jobs[job_id] = job
            self._waiting.append(job_id)
        return job

    def get(self, job_id: str) -> QueueJob | None:
        """None for a job that was forgotten or never was."""
        with self._lock:
            return next((job for job in self._alive() if job.id == job_id), None)

    def cancel(self, job: QueueJob) -> None:
        with self._lock:
            if job.is_final:
                return
            if job.worker is not None and job.status == "IN_PROGRESS":
                self._to_stop.setdefault(job.worker, []).append(job.id)
            self._end(job, "CANCELLED")

    def retry(self, job: QueueJob) -> bool:
        """False unless it failed or took too long."""
        with self._lock:
            if job.status not in ("FAILED", "TIMED_OUT"):
                return False
            job.retries, job.error, job.output, job.ended_at = 0, None, None, None
            self._put_back(job)
            self._counts["retried"] += 1
            return True

    def purge(self) -> int:
        """Removes what waits; how many those were."""
        with self._lock:
            waiting = [job.id for job in self._jobs.values() if job.status == "IN_QUEUE"]
            for job_id in waiting:
                del self._jobs[job_id]
            return len(waiting)

    def drain_stream(self, job: QueueJob) -> list[Any]:
        """The pieces that nobody has read yet."""
        with self._lock:
            pieces, job.stream = job.stream, []
            return pieces

    def health(self) -> Json:
        with self._lock:
            alive = self._alive()
            waiting = sum(job.status == "IN_QUEUE" for job in alive)
            running = sum(job.status == "IN_PROGRESS" for job in alive)
            return {**self._counts, "inQueue": waiting, "inProgress": running}

    # the scaler's side

    def waiting(self) -> list[float]:
        """Seconds that each job which may start a worker has waited, the longest first."""
        now = self._now()
        with self._lock:
            found = [
                now - job.submitted_at
                for job in self._alive()
                if job.status == "IN_QUEUE" and not job.low_priority
            ]
            return sorted(found, reverse=True)

    def running(self, worker: str | None = None) -> list[QueueJob]:
        """The jobs that this worker, or any, has in progress."""
        with self._lock:
            return [
                job
                for job in self._alive()
                if job.status == "IN_PROGRESS" and worker in (None, job.worker)
            ]

    def worker_lost(self, worker: str) -> list[str]:
        """Gives the jobs of a worker that is gone to others; the ids."""
        with self._lock:
            lost = self.running(worker)
            for job in lost:
                job.retries += 1
                if job.retries > MOST_RETRIES:
                    job.error = f"job failed after {MOST_RETRIES} retries: its workers were lost"
                    self._end(job, "FAILED")
                else:
                    self._put_back(job)
            self._to_stop.pop(worker, None)
            return [job.id for job in lost]

    def time_out(self) -> None:
        """Ends what runs for longer than it may."""
        now = self._now()
        with self._lock:
            for job in self.running():
                if job.started_at and now - job.started_at > job.execution_limit_s:
                    self._to_stop.setdefault(job.worker or "", []).append(job.id)
                    job.error = "job timed out after 1 retries"
                    self._end(job, "TIMED_OUT")

    # the worker's side

    def take(self, worker: str) -> QueueJob | None:
        with self._lock:
            while self._waiting:
                job = self._jobs.get(self._waiting.popleft())
                if (
                    job is not None
                    and job.status == "IN_QUEUE"
                    and not job.is_forgotten(self._now())
                ):
                    job.status, job.worker, job.started_at = "IN_PROGRESS", worker, self._now()
                    return job
        return None

    def to_stop(self, worker: str) -> list[str]:
        with self._lock:
            return self._to_stop.pop(worker, [])

    def take_in(self, worker: str, job_id: str, said: Json) -> None:
        """Progress, or the result. What comes from a worker that no longer has the job, or after
        the end, is dropped."""
        with self._lock:
            job = self._jobs.get(job_id)
            if job is None or job.status != "IN_PROGRESS" or job.worker != worker:
                return
            if said.get("status") == "IN_PROGRESS":
                job.output = said.get("output")
            elif said.get("error"):
                job.error, job.output = str(said["error"]), said.get("output")
                self._end(job, "FAILED")
            else:
                job.output = said.get("output")
                self._end(job, "COMPLETED")

    def take_piece(self, worker: str, job_id: str, piece: Json) -> None:
        with self._lock:
            job = self._jobs.get(job_id)
            if job is not None and job.status == "IN_PROGRESS" and job.worker == worker:
                job.stream.append(piece)

    def _alive(self) -> list[QueueJob]:
        now = self._now()
        for job in [job for job in self._jobs.values() if job.is_forgotten(now)]:
            del self._jobs[job.id]
        return list(self._jobs.values())

    def _put_back(self, job: QueueJob) -> None:
        job.status, job.worker, job.started_at, job.output = "IN_QUEUE", None, None, None
        self._waiting.appendleft(job.id)

    def _end(self, job: QueueJob, status: str) -> None:
        job.status, job.ended_at = status, self._now()
        if status != "CANCELLED":
            self._counts["completed" if status == "COMPLETED" else "failed"] += 1
