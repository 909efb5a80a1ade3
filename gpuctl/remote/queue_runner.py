"""The Runner over RunPod's job queue: the same jobs, events and files as over ssh."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from gpuctl.clients.runpod_jobs import RunpodJobs
from gpuctl.clients.s3 import Bucket
from gpuctl.errors import ApiError, ConnectionFailed, NotFound
from gpuctl.models import Artifact, Event, Job, Json, Report
from gpuctl.remote import queue_inputs
from gpuctl.remote.base import OnBytes
from gpuctl.remote.queue_feed import Feed, Pace
from gpuctl.remote.queue_results import Results

KIND = "queue-job"
# What the worker takes out of the input before the handler sees it (worker/queue_inputs.py).
ENVELOPE = "gpuctl"
MOST_LISTED = 200
_STATUS = {
    "IN_QUEUE": "queued",
    "IN_PROGRESS": "running",
    "RUNNING": "running",
    "COMPLETED": "done",
    "FAILED": "failed",
    "TIMED_OUT": "failed",
    "CANCELLED": "cancelled",
}
_ENDED = ("done", "failed", "cancelled", "expired")


class Memory(Protocol):
    """The part of State that knows which job of ours is which of RunPod's."""

    def keep(self, kind: str, key: str, record: Json) -> None: ...
    def kept(self, kind: str, key: str) -> Json | None: ...
    def all_kept(self, kind: str) -> list[Json]: ...


@dataclass(frozen=True, slots=True)
class Terms:
    """How an endpoint's queue is used. `policy` goes with every job; `volume_ids` are mounted."""

    endpoint_id: str
    policy: Mapping[str, int]
    volume_ids: tuple[str, ...] = ()
    pace: Pace = field(default_factory=Pace)


@dataclass(slots=True)
class QueueRunner:
    """Lives as long as its link: what was told of a job is told again after a lost connection."""

    jobs_api: RunpodJobs
    terms: Terms
    memory: Memory
    results: Results
    bucket: Bucket | None
    report: Report
    now: Callable[[], float]
    sleep: Callable[[float], None]
    diagnose: Callable[[], str]
    _feeds: dict[str, Feed] = field(default_factory=dict)

    def submit(self, job: Job) -> Iterator[Event]:
        """Queues the job unless that was done, and follows it.

        Raises ConnectionFailed when nobody knows whether it was queued: submitting it again is
        safe, the worker refuses a second run of the same id and names the first.
        """
        known = self.memory.kept(KIND, job.id)
        if known is None or not known.get("queue_id"):
            self._send(job)
        yield from self._follow(job.id)

    def attach(self, workload: str, job_id: str, *, from_seq: int = 0) -> Iterator[Event]:  # noqa: ARG002
        """Raises NotFound for a job that was never queued from this computer."""
        for event in self._follow(job_id):
            if event.seq > from_seq:
                yield event

    def cancel(self, workload: str, job_id: str) -> bool:  # noqa: ARG002
        """Whether a job that had not ended was stopped."""
        record = self._record(job_id)
        if self._status_of(record) in _ENDED:
            return False
        with _reached():
            answer = self.jobs_api.cancel(str(record["queue_id"]))
        return str(answer.get("status", "CANCELLED")) == "CANCELLED"

    def retry(self, job_id: str) -> None:
        """Lets one that failed or took too long run again, under the same ids."""
        record = self._record(job_id)
        self.jobs_api.retry(str(record["queue_id"]))
        self.memory.keep(KIND, job_id, {**record, "status": "queued"})
        self._feeds.pop(job_id, None)

    def status(self, workload: str) -> Json:  # noqa: ARG002
        """`/health`: how many jobs and workers are in which state."""
        with _reached():
            return self.jobs_api.health()

    def jobs(self, workload: str) -> list[Json]:
        """The jobs that this computer sent here, oldest first. One that is done is saved now."""
        mine = [
            record
            for record in self.memory.all_kept(KIND)
            if record["endpoint"] == self.terms.endpoint_id and record["workload"] == workload
        ]
        return [
            {
                "id": record["id"],
                "status": self._status_of(record),
                "created": record["submitted_at"],
            }
            for record in reversed(mine[:MOST_LISTED])
        ]

    def fetch(self, artifact: Artifact, target: Path, *, on_bytes: OnBytes | None = None) -> None:
        """Raises TransferFailed, NotFound, ConnectionFailed."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with _reached():
            self.results.fetch(artifact, target)
        if on_bytes is not None:
            on_bytes(artifact.bytes, artifact.bytes)

    def _send(self, job: Job) -> None:
        files = queue_inputs.entries(job.inputs, self.bucket, self.terms.volume_ids, self.report)
        given = {**job.input, ENVELOPE: {"id": job.id, "files": files}}
        record = {
            "id": job.id,
            "workload": job.workload,
            "endpoint": self.terms.endpoint_id,
            "queue_id": None,
            "submitted_at": self.now(),
            "status": "queued",
        }
        self.memory.keep(KIND, job.id, record)
        try:
            queue_id = self.jobs_api.run(given, dict(self.terms.policy))
        except ApiError as error:
            is_refusal = error.status is not None and error.status < 500
            if is_refusal or error.status == 429:
                raise
            raise ConnectionFailed(
                f"whether the job was queued is unknown: {error.message}"
            ) from error
        # The very first thing: without it, nobody could ask for the result.
        self.memory.keep(KIND, job.id, {**record, "queue_id": queue_id})

    def _follow(self, job_id: str) -> Iterator[Event]:
        feed = self._feeds.get(job_id) or self._feed(job_id)
        self._feeds[job_id] = feed
        told = 0
        while True:
            for event in feed.events[told:]:
                told += 1
                yield event
                if event.is_final:
                    self._ended(job_id, event)
                    return
            feed.advance()

    def _feed(self, job_id: str) -> Feed:
        record = self._record(job_id)
        return Feed(
            job_id=job_id,
            workload=str(record["workload"]),
            queue_id=str(record["queue_id"]),
            submitted_at=float(record["submitted_at"]),
            jobs=self.jobs_api,
            results=self.results,
            pace=self.terms.pace,
            now=self.now,
            sleep=self.sleep,
            diagnose=self.diagnose,
            on_duplicate=partial(self._renamed, job_id),
        )

    def _renamed(self, job_id: str, queue_id: str) -> None:
        self.memory.keep(KIND, job_id, {**self._record(job_id), "queue_id": queue_id})

    def _ended(self, job_id: str, event: Event) -> None:
        code = event.data.get("code")
        named = str(code) if code in ("cancelled", "expired") else "failed"
        status = "done" if event.kind == "done" else named
        self.memory.keep(KIND, job_id, {**self._record(job_id), "status": status})

    def _record(self, job_id: str) -> Json:
        record = self.memory.kept(KIND, job_id)
        if record is None:
            raise NotFound(
                f"job {job_id} was not queued from this computer", hint="gpuctl jobs list"
            )
        if not record.get("queue_id"):
            raise NotFound(
                f"whether job {job_id} was queued is unknown: sending it was interrupted",
                hint="send it again; gpuctl endpoint health ENDPOINT shows what is queued",
            )
        return record

    def _status_of(self, record: Json) -> str:
        known = str(record.get("status"))
        if known in _ENDED or not record.get("queue_id"):
            return known
        if self.results.saved(record["id"]) is not None:
            return "done"
        try:
            with _reached():
                answer = self.jobs_api.status(str(record["queue_id"]))
        except NotFound:
            return "expired"
        if answer.get("status") == "COMPLETED":
            self.results.save(record["id"], answer)
        return _STATUS.get(str(answer.get("status")), "running")


@contextmanager
def _reached() -> Iterator[None]:
    """Without an answer it is the connection that failed, not the job."""
    try:
        yield
    except ApiError as error:
        if error.status is not None and error.status < 500 and error.status != 429:
            raise
        raise ConnectionFailed(error.message, hint=error.hint) from error
