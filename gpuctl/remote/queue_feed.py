"""One job of a queue as events: what its status says, told as a worker over ssh would tell it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gpuctl.clients.runpod_jobs import RunpodJobs
from gpuctl.errors import ApiError, ConnectionFailed, NotFound
from gpuctl.models import Event, Json
from gpuctl.remote.queue_results import Results, artifacts_of, output_of

EXPIRED_REMEDY = (
    "RunPod keeps a result for 30 minutes and a job for its ttl; send it again if you need it"
)
TIMED_OUT_REMEDY = "allow the endpoint more: gpuctl endpoint update ENDPOINT --timeout 30m"
FIRST_PAUSE_S, LONGEST_PAUSE_S, GROWTH = 1.0, 5.0, 1.5
# Long jobs are asked about less often (facts: runpod.md §4).
LONG_JOB_S, LONG_PAUSE_S = 600.0, 12.0
RATE_LIMIT_PAUSE_S = 10.0
DIAGNOSE_EVERY_S = 15.0
_ENDS = {"FAILED", "TIMED_OUT", "CANCELLED"}
# What only the transport needs to know of an artifact.
_OWN_FIELDS = ("data", "url", "s3_key", "workspace_path")


@dataclass(slots=True)
class Pace:
    """How patiently a job is asked about; seconds. `diagnose_after_s` in the queue without an end
    is a reason to look at the endpoint's workers."""

    first_s: float = FIRST_PAUSE_S
    longest_s: float = LONGEST_PAUSE_S
    diagnose_after_s: float = 30.0


@dataclass(slots=True)
class Feed:
    """`advance` asks once and adds what is new to `events`; it waits before it asks again.

    `on_duplicate` is told RunPod's id of the run that this one stands behind.
    """

    job_id: str
    workload: str
    queue_id: str
    submitted_at: float
    jobs: RunpodJobs
    results: Results
    pace: Pace
    now: Callable[[], float]
    sleep: Callable[[float], None]
    diagnose: Callable[[], str]
    on_duplicate: Callable[[str], None]
    events: list[Event] = field(default_factory=list)
    _pause_s: float = 0.0
    _status: str = ""
    _told: Any = None
    _streams: bool = False
    _pieces: int = 0
    _queued_at: float = 0.0
    _diagnosed_at: float = 0.0
    _diagnosis: str = ""

    def advance(self) -> None:
        """Raises ConnectionFailed when RunPod cannot be reached; the job itself goes on."""
        if not self.events:
            self._accept()
        saved = self.results.saved(self.job_id)
        if saved is not None:
            self._finish(saved)
            return
        if self._pause_s:
            self._wait()
        answer = self._asked()
        if answer is not None:
            self._take_in(answer)

    def _accept(self) -> None:
        data = {"id": self.job_id, "workload": self.workload, "queue_id": self.queue_id}
        self._queued_at = self.now()
        self._add("accepted", data, ts=self.submitted_at)

    def _asked(self) -> Json | None:
        """What `/status` says; None when it says nothing now. A job that is gone ends here."""
        try:
            return self.jobs.status(self.queue_id)
        except NotFound:
            message = f"RunPod no longer knows job {self.job_id}: it expired, or it was removed"
            message += ". How it ended is not known"
            self._error("expired", message, EXPIRED_REMEDY)
        except ApiError as error:
            if error.status != 429:
                raise ConnectionFailed(error.message, hint=error.hint) from error
            self._pause_s = error.retry_after_s or RATE_LIMIT_PAUSE_S
        return None

    def _take_in(self, answer: Json) -> None:
        status = str(answer.get("status") or "")
        if status == "COMPLETED":
            self._finish(self.results.save(self.job_id, answer))
        elif status in _ENDS:
            self._fail(status, answer)
        elif status == "IN_QUEUE":
            self._queue()
        else:
            self._work(answer)
        self._grow(status)

    def _grow(self, status: str) -> None:
        if status != self._status:
            self._status, self._pause_s = status, self.pace.first_s
            return
        age_s = self.now() - self.submitted_at
        most_s = LONG_PAUSE_S if age_s > LONG_JOB_S else self.pace.longest_s
        self._pause_s = min(most_s, self._pause_s * GROWTH)

    def _queue(self) -> None:
        now = self.now()
        if self._status != "IN_QUEUE":
            self._queued_at = now
            is_again = self._status != ""
            message = "its worker was lost; waiting for another" if is_again else ""
            message = message or "waiting for a worker"
            self._add("loading", {"stage": "queue", "message": message})
        is_late = now - self._queued_at >= self.pace.diagnose_after_s
        if is_late and now - self._diagnosed_at >= min(
            DIAGNOSE_EVERY_S, self.pace.diagnose_after_s
        ):
            self._diagnosed_at = now
            self._explain(self.diagnose())

    def _explain(self, diagnosis: str) -> None:
        if diagnosis and diagnosis != self._diagnosis:
            self._diagnosis = diagnosis
            self._add("log", {"message": diagnosis, "level": "warning"})

    def _work(self, answer: Json) -> None:
        if self._status not in ("IN_PROGRESS", "RUNNING"):
            worker = answer.get("workerId")
            self._add("loading", {"stage": "worker", "message": "a worker has the job"})
            self.events[-1].data["worker"] = worker
        told = answer.get("output")
        if isinstance(told, dict) and told != self._told:
            self._told = told
            self._tell(told)

    def _tell(self, told: Json) -> None:
        """What the handler reported on the way: an event's fields, or anything else of its own."""
        if told.get("streams"):
            self._streams = True
            return
        kind = told.get("event")
        if kind in ("progress", "loading", "log"):
            self._add(str(kind), {name: told[name] for name in told if name != "event"})

    def _tell_pieces(self, pieces: Sequence[object]) -> None:
        self._pieces += len(pieces)
        for piece in pieces:
            if isinstance(piece, dict):
                self._tell(piece)

    def _wait(self) -> None:
        is_working = self._status in ("IN_PROGRESS", "RUNNING")
        if not (self._streams and is_working):
            self.sleep(self._pause_s)
            return
        try:
            pieces = self.jobs.stream(self.queue_id, wait_ms=1000).get("stream") or []
        except (ApiError, NotFound):
            # The status that is asked for next says what is the matter.
            self.sleep(self._pause_s)
            return
        self._tell_pieces([each.get("output") for each in pieces if isinstance(each, dict)])
        if not pieces:
            self.sleep(self.pace.first_s / 4)

    def _finish(self, saved: Json) -> None:
        """The events of the end, from what is safe on this computer's disk."""
        answer, ts = saved["answer"], float(saved["saved_at"])
        output = output_of(answer)
        if isinstance(answer.get("output"), list):
            # A job that ended before it was listened to is heard from its result.
            self._tell_pieces(answer["output"][self._pieces : -1])
        for log in output.get("logs") or ():
            self._add("log", dict(log), ts=ts)
        for artifact in artifacts_of(answer):
            shown = {name: artifact[name] for name in artifact if name not in _OWN_FIELDS}
            path = self.results.artifact_path(self.job_id, str(artifact.get("name")))
            self._add("artifact", {**shown, "path": path}, ts=ts)
        own = ("artifacts", "metrics", "logs", "event")
        response = {name: output[name] for name in output if name not in own}
        metrics = {**(output.get("metrics") or {}), **_times(answer)}
        self._add("done", {"metrics": metrics, **({"response": response} if response else {})}, ts)

    def _fail(self, status: str, answer: Json) -> None:
        if status == "CANCELLED":
            self._error("cancelled", "the job was cancelled", "")
            return
        fields = failure_of(answer.get("error"))
        first = fields.get("queue_id")
        if fields["code"] == "duplicate" and isinstance(first, str) and first != self.queue_id:
            # An earlier submission had arrived after all: that one is the job.
            self.queue_id = first
            self.on_duplicate(first)
            return
        if status == "TIMED_OUT":
            message = f"the job took longer than the endpoint allows ({fields['message']})"
            fields = {"code": "timed_out", "message": message, "remedy": TIMED_OUT_REMEDY}
        self._add("error", fields)

    def _error(self, code: str, message: str, remedy: str) -> None:
        self._add("error", {"code": code, "message": message, "remedy": remedy})

    def _add(self, kind: str, data: Json, ts: float | None = None) -> None:
        moment = self.now() if ts is None else ts
        self.events.append(Event(len(self.events) + 1, moment, kind, data))


def failure_of(error: object) -> Json:
    """Code, message, remedy and traceback of an `error`: our own JSON, the SDK's, or words."""
    text = str(error or "the worker reported an error")
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        return {"code": "failed", "message": text, "remedy": ""}
    if "code" in found:
        return {"message": text, "remedy": "", **found}
    message = f"{found.get('error_type', '')}: {found.get('error_message', text)}".lstrip(": ")
    trace = str(found.get("error_traceback") or "")
    return {"code": "failed", "message": message, "remedy": "", "traceback": trace}


def _times(answer: Json) -> Json:
    """Seconds in the queue and at work; a worker is billed for the latter."""
    named = {"queue_s": answer.get("delayTime"), "elapsed_s": answer.get("executionTime")}
    return {
        name: round(value / 1000, 3)
        for name, value in named.items()
        if isinstance(value, int | float)
    }
