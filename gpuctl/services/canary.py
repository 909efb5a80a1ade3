"""The last two rungs of readiness: the worker answers, and one tiny real job gives a result."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from gpuctl.errors import JobFailed, TimedOut
from gpuctl.models import Artifact, Event, Job, Json
from gpuctl.remote.base import Runner
from gpuctl.services import jobs
from gpuctl.services.jobs import Progress, Tracking
from gpuctl.services.waiting import Clock


class Link(jobs.Link, Protocol):
    """A connection that can also be let go of from another thread."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class CanaryResult:
    """What the tiny job showed. `seconds` is from the first question to its end, `load_s` the part
    of it that loading the model took."""

    job_id: str
    engine: str
    seconds: float
    load_s: float
    artifact: Artifact

    def as_json(self) -> Json:
        return {
            "job": self.job_id,
            "engine": self.engine,
            "seconds": self.seconds,
            "load_s": self.load_s,
            "bytes": self.artifact.bytes,
            "sha256": self.artifact.sha256,
        }

    def words(self) -> str:
        return f"works: engine {self.engine}, {self.seconds:.1f} s (loading {self.load_s:.1f} s)"


def run(
    link: Link, tracking: Tracking, *, clock: Clock, limit_s: float, reconnect_limit_s: float
) -> CanaryResult:
    """Asks the worker for its health, sends it the job of `tracking`, and follows that to its end.

    Nothing is fetched. Raises JobFailed with the worker's remedy, TimedOut after `limit_s`,
    ConnectionFailed.
    """
    record, report, began = tracking.record, tracking.report, clock.now()
    job = Job(record.id, record.workload, record.input)

    def begin(runner: Runner) -> Iterator[Event]:
        report.step("asking the worker how it is")
        runner.status(job.workload)
        report.step("trying it with one tiny job")
        return runner.submit(job)

    tracking.update(status="submitted")
    with _closing_after(link, limit_s):
        events = jobs.follow(
            _Bounded(link, clock, began + limit_s, limit_s),
            begin,
            clock=clock,
            limit_s=reconnect_limit_s,
            report=report,
        )
        artifact = _followed(events, tracking, Progress(report))
    # What it made was looked at, as far as anybody wants to: nothing has to be brought home.
    tracking.update(status="fetched")
    metrics = tracking.record.metrics
    return CanaryResult(
        record.id,
        str(metrics.get("engine", "unknown")),
        round(clock.now() - began, 3),
        round(float(metrics.get("load_s") or 0.0), 3),
        artifact,
    )


def _followed(events: Iterator[Event], tracking: Tracking, progress: Progress) -> Artifact:
    """The artifact that the job announced. Raises JobFailed when it ended without a real one."""
    found: Artifact | None = None
    for event in events:
        progress.show(event)
        tracking.note(event)
        if event.kind == "artifact":
            found = jobs.artifact_of(event)
    if found is None or found.bytes <= 0 or not found.sha256:
        raise JobFailed(
            "the worker said that the tiny job is done, and made nothing",
            worker_code="worker_broken",
            hint=f"gpuctl jobs show {tracking.record.id}",
        )
    return found


@dataclass(frozen=True, slots=True)
class _Bounded:
    """The link until the deadline: afterwards nothing is dialled again."""

    link: Link
    clock: Clock
    deadline: float
    limit_s: float

    @property
    def runner(self) -> Runner:
        self._check()
        return self.link.runner

    def reopen(self) -> None:
        self._check()
        self.link.reopen()

    def _check(self) -> None:
        if self.clock.now() >= self.deadline:
            raise TimedOut(
                f"the tiny job had no result after {self.limit_s:g} s",
                hint="a slow download? Allow more with `gpuctl config set deploy.canary_limit_s "
                "SECONDS`, or keep models on a network volume",
            )


@contextmanager
def _closing_after(link: Link, limit_s: float) -> Iterator[None]:
    """A worker that says nothing at all is not listened to for longer than `limit_s`."""
    timer = threading.Timer(limit_s, link.close)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
