"""The Runner over a workload's HTTP service: the same events and files as over ssh."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from gpuctl.clients.service_api import Refusal, ServiceApi
from gpuctl.errors import JobFailed, NotFound, TransferFailed
from gpuctl.models import Artifact, Event, Job, Json, Report
from gpuctl.remote.base import OnBytes

_READ_BYTES = 1 << 20


class ServiceRunner:
    """Submits, follows and fetches through one ServiceApi. The workload is the service's own."""

    def __init__(
        self, api: ServiceApi, report: Report, now: Callable[[], float] = time.time
    ) -> None:
        self.api = api
        self._report = report
        self._now = now

    def submit(self, job: Job) -> Iterator[Event]:
        """Raises ConnectionFailed (the job goes on), CredentialsError. What the service refuses
        comes as the error event that it is."""
        try:
            self._put_inputs(job)
            self.api.submit(job.id, job.input)
        except Refusal as refusal:
            fields = {"code": refusal.code, "message": refusal.message, "remedy": refusal.remedy}
            yield Event(1, self._now(), "error", fields)
            return
        yield from self.attach(job.workload, job.id)

    def attach(self, workload: str, job_id: str, *, from_seq: int = 0) -> Iterator[Event]:  # noqa: ARG002
        """Events after `from_seq`, old ones first. Raises as `submit` does, and JobFailed."""
        try:
            for row in self.api.events(job_id, from_seq):
                yield _event(row)
        except NotFound:
            message = f"no such job there: {job_id}"
            raise JobFailed(message, worker_code="not_found", hint="gpuctl jobs list") from None
        except Refusal as refusal:
            raise _failed(refusal) from refusal

    def cancel(self, workload: str, job_id: str) -> bool:  # noqa: ARG002  the protocol's
        try:
            return self.api.cancel(job_id)
        except NotFound:
            return False
        except Refusal as refusal:
            raise _failed(refusal) from refusal

    def status(self, workload: str) -> Json:  # noqa: ARG002  the protocol's
        """The service's own account of itself. Raises JobFailed when it is not well."""
        found = self.api.health()
        if found.get("status") != "healthy":
            state = found.get("comfyui") or {}
            raise JobFailed(
                f"the service is not well: {state.get('reason') or 'no reason given'}",
                worker_code="worker_died",
                hint="gpuctl logs -f shows what its start says",
            )
        return found

    def jobs(self, workload: str) -> list[Json]:  # noqa: ARG002  the protocol's
        """Every job the service knows, oldest first."""
        return self.api.jobs()

    def fetch(self, artifact: Artifact, target: Path, *, on_bytes: OnBytes | None = None) -> None:
        """Goes on with a `target`.part. Raises TransferFailed when size or hash are not as
        announced, NotFound, ConnectionFailed, OSError."""
        path = PurePosixPath(artifact.path)
        job_id, name = path.parent.parent.name, path.name
        part = target.with_name(f"{target.name}.part")
        done = part.stat().st_size if part.exists() else 0
        if done >= artifact.bytes:
            part.unlink(missing_ok=True)
            done = 0
        try:
            with (
                self.api.artifact(job_id, name, done, artifact.sha256) as coming,
                part.open("r+b" if coming.offset else "wb") as file,
            ):
                file.seek(coming.offset)
                for piece in coming.pieces():
                    file.write(piece)
                    if on_bytes is not None:
                        on_bytes(file.tell(), artifact.bytes)
        except Refusal as refusal:
            raise TransferFailed(refusal.message, hint=refusal.remedy or None) from refusal
        _check(part, artifact)
        part.replace(target)

    def _put_inputs(self, job: Job) -> None:
        """Names are content hashes, so that a file of the same size is the same file."""
        for name, source in job.inputs.items():
            if self._size_there(name) != source.stat().st_size:
                self._report.step(f"sending {source.name}")
                self.api.put_input(name, source, self._on_bytes)

    def _size_there(self, name: str) -> int | None:
        try:
            return self.api.has_input(name)
        except NotFound:
            return None

    def _on_bytes(self, done: int, total: int) -> None:
        self._report.progress("upload", done, total)


def _event(row: Json) -> Event:
    fields = {name: value for name, value in row.items() if name not in ("v", "seq", "ts", "event")}
    return Event(int(row["seq"]), float(row["ts"]), str(row["event"]), fields)


def _check(part: Path, artifact: Artifact) -> None:
    digest = hashlib.sha256()
    with part.open("rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    size = part.stat().st_size
    if size != artifact.bytes or digest.hexdigest() != artifact.sha256:
        part.unlink()
        raise TransferFailed(
            f"{artifact.path} arrived damaged ({size} of {artifact.bytes} bytes)",
            hint="run the same command again",
        )


def _failed(refusal: Refusal) -> JobFailed:
    return JobFailed(refusal.message, worker_code=refusal.code, hint=refusal.remedy or None)
