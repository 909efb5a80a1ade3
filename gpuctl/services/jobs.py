"""Runs one job over whatever reaches the machine: follow, come back after a drop, bring home."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from gpuctl.errors import (
    ConnectionFailed,
    Detached,
    HostKeyChanged,
    JobFailed,
    TransferFailed,
)
from gpuctl.models import ENDPOINT_PROVIDER, Artifact, Event, JobRecord, Json, Report
from gpuctl.remote.base import Runner
from gpuctl.services.waiting import Clock

RETRY_FIRST_S = 0.5
RETRY_MOST_S = 15.0

Begin = Callable[[Runner], Iterator[Event]]


class Memory(Protocol):
    """The part of State that jobs need."""

    def save_job(self, job: JobRecord) -> None: ...


class Link(Protocol):
    """A connection that can be made again: `runner` is the current one."""

    @property
    def runner(self) -> Runner: ...
    def reopen(self) -> None:
        """Raises ConnectionFailed when it cannot be made now."""
        ...


@dataclass(slots=True)
class Progress:
    """Tells the operator where a job is, from its events."""

    report: Report
    stage: str = field(default="", init=False)

    def show(self, event: Event) -> None:
        data = event.data
        if event.kind == "progress":
            self.report.progress(str(data.get("stage")), data.get("done", 0), data.get("total"))
        elif event.kind == "loading":
            text = str(data.get("message") or f"loading {data.get('stage', '')}")
            if data.get("total"):
                self.report.progress(text, data.get("done", 0), data["total"])
            else:
                self.report.step(text)
        elif event.kind == "log":
            show = self.report.warn if data.get("level") == "warning" else self.report.note
            show(str(data.get("message", "")))
        elif event.kind == "accepted" and data.get("position"):
            self.report.step(f"queued behind {data['position']}")


def follow(
    link: Link, begin: Begin, *, clock: Clock, limit_s: float, report: Report
) -> Generator[Event]:
    """Events of a job, each once, across dropped connections, up to the final one.

    `begin` must replay from the start (submitting the same id again does). Raises ConnectionFailed
    when the machine stayed unreachable for `limit_s`; the job itself goes on there.
    """
    seen = 0
    while True:
        try:
            for event in begin(link.runner):
                if event.seq <= seen:
                    continue
                seen = event.seq
                yield event
                if event.is_final:
                    return
            raise ConnectionFailed("the event stream ended before the job did")
        except HostKeyChanged:
            raise
        except ConnectionFailed as failure:
            report.warn(f"connection lost ({failure.message}); the job goes on, reconnecting")
            come_back(link, clock=clock, limit_s=limit_s, report=report)


def come_back(link: Link, *, clock: Clock, limit_s: float, report: Report) -> None:
    """Reopens the link, waiting longer each time. Raises ConnectionFailed after `limit_s`."""
    deadline = clock.now() + limit_s
    pause_s = RETRY_FIRST_S
    while True:
        try:
            link.reopen()
        except HostKeyChanged:
            raise
        except ConnectionFailed as failure:
            if clock.now() + pause_s > deadline:
                raise ConnectionFailed(
                    f"{failure.message}; gave up after {limit_s:g} s",
                    hint=failure.hint or "the job goes on; gpuctl jobs list shows how to come back",
                ) from failure
            report.step(f"reconnecting ({failure.message})")
            clock.sleep(pause_s)
            pause_s = min(RETRY_MOST_S, pause_s * 2)
        else:
            return


def artifact_of(event: Event) -> Artifact:
    data = event.data
    return Artifact(
        str(data["path"]), int(data["bytes"]), str(data["sha256"]), str(data["media_type"])
    )


def fetch(
    link: Link, artifact: Artifact, target: Path, *, clock: Clock, limit_s: float, report: Report
) -> None:
    """Brings one artifact home, resuming after a drop. Raises TransferFailed, ConnectionFailed."""
    while True:
        try:
            link.runner.fetch(artifact, target)
        except HostKeyChanged:
            raise
        except ConnectionFailed as failure:
            report.warn(f"connection lost ({failure.message}); the transfer will be resumed")
            come_back(link, clock=clock, limit_s=limit_s, report=report)
        except OSError as error:
            raise TransferFailed(
                f"cannot write {target}: {error.strerror}",
                hint="the result is safe on the machine: make room, find the job with "
                "`gpuctl jobs list`, then `gpuctl jobs attach JOB`",
            ) from error
        else:
            return


def failure_of(event: Event, job_id: str) -> JobFailed:
    """The error that an `error` event means, with the worker's own remedy as the hint."""
    data = event.data
    code = str(data.get("code", "failed"))
    return JobFailed(
        str(data.get("message") or "the worker reported an error"),
        worker_code=code,
        hint=str(data.get("remedy") or f"gpuctl jobs show {job_id}"),
        details={"job": job_id, "traceback": data.get("traceback")},
    )


@dataclass(slots=True)
class Tracking:
    """One job while it is followed: the record grows with its events and is saved at each turn."""

    record: JobRecord
    memory: Memory
    clock: Clock
    report: Report
    accepted_at: float | None = None

    def note(self, event: Event) -> None:
        """Takes an event into the record. Raises JobFailed for the error event."""
        if event.kind == "accepted" and self.accepted_at is None:
            self.accepted_at = event.ts
        if event.kind == "done":
            metrics: Json = dict(event.data.get("metrics") or {})
            # A queue tells how long its worker had the job: waiting in it costs nothing.
            metrics.setdefault("elapsed_s", round(event.ts - (self.accepted_at or event.ts), 3))
            self.update(status="done", metrics=metrics, finished_at=event.ts, last_seq=event.seq)
        elif event.kind == "error":
            code = str(event.data.get("code"))
            status = code if code in ("cancelled", "expired") else "failed"
            message = str(event.data.get("message", ""))
            self.update(status=status, error=message, finished_at=event.ts, last_seq=event.seq)
            raise failure_of(event, self.record.id)
        elif event.kind == "accepted":
            self.update(status="running", last_seq=event.seq)

    def keep(self, artifact: Artifact, file: Path) -> None:
        self.update(
            artifacts=(*self.record.artifacts, artifact), files=(*self.record.files, str(file))
        )

    def update(self, **changes: Any) -> None:
        self.record = replace(self.record, **changes)
        self.memory.save_job(self.record)


def detached(record: JobRecord) -> Detached:
    """What Ctrl-C while watching says: the job goes on, how to come back, what it costs."""
    return Detached(
        f"detached; job {record.id} goes on.{_meanwhile(record)}",
        hint=f"gpuctl jobs attach {record.id}   (or: gpuctl jobs cancel {record.id})",
        details={"job": record.id, "price_usd_h": record.price_usd_h},
    )


def _meanwhile(record: JobRecord) -> str:
    """What it costs to stay away: a machine's rate, or a result that a queue forgets."""
    if kept_for(record):
        return f" Its result is kept for {kept_for(record)} after its end."
    return f" The machine costs ${record.price_usd_h:.2f}/h." if record.price_usd_h else ""


def kept_for(record: JobRecord) -> str:
    """How long a result can be fetched after the job's end; empty where a machine keeps it."""
    machine = record.context.get("machine")
    is_queued = isinstance(machine, dict) and machine.get("provider") == ENDPOINT_PROVIDER
    return "30 minutes" if is_queued else ""


def cost_usd(record: JobRecord) -> float | None:
    """Rate × seconds between acceptance and the end; None when either is unknown."""
    elapsed_s = record.metrics.get("elapsed_s")
    if record.price_usd_h is None or elapsed_s is None:
        return None
    return round(record.price_usd_h * float(elapsed_s) / 3600, 6)
