"""Sends a job of any workload, watches it, brings its results home and leaves receipts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from gpuctl.errors import GpuctlError
from gpuctl.models import Artifact, Event, Job, JobRecord, Json, Machine, Report
from gpuctl.services import destinations, receipts
from gpuctl.services.destinations import Destination
from gpuctl.services.jobs import (
    Begin,
    Link,
    Memory,
    Progress,
    Tracking,
    artifact_of,
    cost_usd,
    detached,
    fetch,
    follow,
)
from gpuctl.services.waiting import Clock
from gpuctl.workloads import WORKLOADS


@dataclass(frozen=True, slots=True)
class Delivered:
    """What came home."""

    record: JobRecord
    receipts: tuple[Json, ...]


def new_record(
    job_id: str,
    workload: str,
    job_input: Json,
    destination: Destination,
    machine: Machine,
    *,
    target: str,
    context: Json,
    now: float,
) -> JobRecord:
    """The job as it is remembered before it is sent."""
    return JobRecord(
        id=job_id,
        workload=workload,
        machine_id=machine.id,
        target=target,
        status="submitted",
        created_at=now,
        input=job_input,
        context={
            **context,
            "folder": str(destination.folder.absolute()),
            "name": destination.name,
            "machine": {
                "id": machine.id,
                "name": machine.name,
                "provider": machine.provider,
                "gpu": machine.gpu,
                "image": machine.image,
            },
        },
        price_usd_h=machine.price_usd_h,
    )


class Watch:
    """Follows one job to its end and brings its results home, across dropped connections."""

    def __init__(
        self,
        record: JobRecord,
        link: Link,
        memory: Memory,
        *,
        clock: Clock,
        limit_s: float,
        report: Report,
    ) -> None:
        self._tracking = Tracking(record, memory, clock, report)
        self._link = link
        self._clock = clock
        self._limit_s = limit_s
        self._report = report
        self._transfer_s = 0.0

    @property
    def record(self) -> JobRecord:
        return self._tracking.record

    def submit(self, job: Job, *, detach: bool = False) -> Delivered:
        """Sends the job and watches it; with `detach` only until the worker has accepted it.

        Raises JobFailed, ConnectionFailed, TransferFailed, Detached (Ctrl-C).
        """
        self._tracking.update(status="submitted")
        return self._run(lambda runner: runner.submit(job), stop_at_accepted=detach)

    def attach(self) -> Delivered:
        """Watches a job that was sent before: replays it and fetches what is not here yet."""
        return self._run(lambda runner: runner.attach(self.record.workload, self.record.id))

    def _run(self, begin: Begin, *, stop_at_accepted: bool = False) -> Delivered:
        progress = Progress(self._report)
        events = follow(
            self._link, begin, clock=self._clock, limit_s=self._limit_s, report=self._report
        )
        try:
            for event in events:
                progress.show(event)
                self._tracking.note(event)
                if stop_at_accepted and event.kind == "accepted":
                    return Delivered(self.record, ())
                if event.kind == "artifact":
                    self._bring_home(event)
        except KeyboardInterrupt:
            raise detached(self.record) from None
        finally:
            events.close()
        return self._finish()

    def _bring_home(self, event: Event) -> None:
        artifact = artifact_of(event)
        if self._is_here(artifact):
            return
        target = self._target(event)
        began = self._clock.now()
        fetch(
            self._link,
            artifact,
            target,
            clock=self._clock,
            limit_s=self._limit_s,
            report=self._report,
        )
        self._transfer_s += self._clock.now() - began
        self._tracking.keep(artifact, target)

    def _target(self, event: Event) -> Path:
        context, job_input = self.record.context, self.record.input
        destination = Destination(Path(context["folder"]), context.get("name"))
        destinations.prepare(destination)
        workload = WORKLOADS[self.record.workload]
        stem, suffix = workload.file_name(job_input, context, event.data)
        count = event.data.get("count") or job_input.get("count") or 1
        index = int(event.data.get("index") or 0)
        return destination.path(stem, suffix, index=index, count=int(count))

    def _is_here(self, artifact: Artifact) -> bool:
        return any(
            known.sha256 == artifact.sha256 and Path(file).exists()
            for known, file in zip(self.record.artifacts, self.record.files, strict=True)
        )

    def _finish(self) -> Delivered:
        record = self.record
        metrics = {**record.metrics, "transfer_s": round(self._transfer_s, 3)}
        self._tracking.record = record = replace(record, metrics=metrics)
        written = tuple(
            self._receipt(Path(file), artifact)
            for artifact, file in zip(record.artifacts, record.files, strict=True)
            if Path(file).exists()
        )
        self._tracking.update(status="fetched")
        return Delivered(self.record, written)

    def _receipt(self, file: Path, artifact: Artifact) -> Json:
        """The result is home already: a receipt that cannot be written must not hide it."""
        cost = cost_usd(self.record)
        try:
            return receipts.leave(file, self.record, artifact, cost)
        except GpuctlError as error:
            self._report.warn(f"{file.name} is here, but its receipt is not: {error.message}")
            return receipts.build(self.record, artifact, cost).to_json()
