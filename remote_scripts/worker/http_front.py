"""The HTTP front: the same handler as over ssh and in the queue, behind FastAPI. Any workload's.

Imported by the service alone, where FastAPI is installed.
"""

from __future__ import annotations

import asyncio
import base64
import errno
import hashlib
import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse

from worker.connection import DaemonFailed
from worker.http_spool import Spool
from worker.layout import Layout
from worker.lines import kind_of
from worker.report import FULL_DISK_ERRNOS, FULL_DISK_REMEDY, Failure, refuse_when_simulated_full

Json = dict[str, Any]
INPUT_NAME = re.compile(r"[0-9a-f]{64}(\.[a-z0-9]{1,8})?")
# A whole film in one JSON document; larger ones are at /files.
EMBEDDED_LIMIT_BYTES = 64 << 20
STATUS = {"bad_input": 422, "not_found": 404, "disk_full": 507, "unsupported": 422}


def router(spool: Spool) -> APIRouter:
    """/status, /jobs, /files and /inputs of one workload. Asking for a job is the workload's."""
    routes, front = APIRouter(), _Front(spool)
    routes.add_api_route("/status/{job_id}", front.status, methods=["GET"])
    routes.add_api_route("/jobs", front.jobs, methods=["GET"])
    routes.add_api_route("/jobs/{job_id}", front.job, methods=["GET"])
    routes.add_api_route("/jobs/{job_id}", front.cancel, methods=["DELETE"])
    routes.add_api_route("/jobs/{job_id}/events", front.events, methods=["GET"])
    routes.add_api_route("/files/{job_id}", front.file, methods=["GET", "HEAD"])
    routes.add_api_route("/files/{job_id}/{name}", front.file, methods=["GET", "HEAD"])
    routes.add_api_route("/inputs/{name}", front.has_input, methods=["GET", "HEAD"])
    routes.add_api_route("/inputs/{name}", front.put_input, methods=["PUT"])
    return routes


async def accept(spool: Spool, job_id: str, given: Json) -> Json:
    """Queues a job and says where it stands. Raises Failure."""
    try:
        refuse_when_simulated_full()
        await asyncio.to_thread(spool.submit, job_id, given)
    except DaemonFailed as failure:
        raise Failure("worker_died", str(failure), "see the service's log") from failure
    except OSError as error:
        if error.errno not in FULL_DISK_ERRNOS:
            raise
        message = f"the job could not be stored: {error}"
        raise Failure("disk_full", message, FULL_DISK_REMEDY) from error
    return {"job_id": job_id, **described(spool, job_id)}


def described(spool: Spool, job_id: str) -> Json:
    """Status, position, progress, artifacts, error and metrics, from the job's events."""
    events = spool.events(job_id)
    found: Json = {"status": "queued", "position": None, "progress": None, "artifacts": []}
    for event in events:
        kind = event["event"]
        if kind == "accepted":
            found["position"] = event.get("position", 0)
        elif kind == "progress" and event.get("stage") == "queue":
            found["position"] = event.get("done")
        elif kind in ("progress", "loading"):
            named = ("stage", "message", "title", "done", "total")
            found |= {"status": "running", "position": None}
            found["progress"] = {name: event[name] for name in named if event.get(name) is not None}
        elif kind == "artifact":
            found["artifacts"].append(_artifact(job_id, event))
        elif kind == "done":
            found |= {"status": "done", "metrics": event.get("metrics"), "position": None}
        elif kind == "error":
            is_cancelled = event.get("code") == "cancelled"
            found |= {"status": "cancelled" if is_cancelled else "failed", "position": None}
            found["error"] = {name: event.get(name) for name in ("code", "message", "remedy")}
    return found


def refusal(failure: Failure, status: int | None = None) -> JSONResponse:
    """A failure as an answer."""
    error = {"code": failure.code, "message": failure.message, "remedy": failure.remedy}
    return JSONResponse({"error": error}, status or STATUS.get(failure.code, 500))


class _Front:
    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._layout: Layout = spool.layout

    async def status(self, job_id: str, video: bool = True) -> Response:
        """As the seed had it: with the finished film as base64, unless `video` is false."""
        if not self._spool.exists(job_id):
            return _not_found(job_id)
        found = {"job_id": job_id, **described(self._spool, job_id)}
        if found["status"] == "done" and video and found["artifacts"]:
            path = self._path(job_id, found["artifacts"][0]["name"])
            if path and path.stat().st_size <= EMBEDDED_LIMIT_BYTES:
                content = await asyncio.to_thread(path.read_bytes)
                found["video"] = base64.b64encode(content).decode()
        return JSONResponse(found)

    async def jobs(self) -> Response:
        rows = await asyncio.to_thread(self._spool.all)
        return JSONResponse({"jobs": rows})

    async def job(self, job_id: str) -> Response:
        return await self.status(job_id, video=False)

    async def cancel(self, job_id: str) -> Response:
        if not self._spool.exists(job_id):
            return _not_found(job_id)
        return JSONResponse({"cancelled": await asyncio.to_thread(self._spool.cancel, job_id)})

    async def events(
        self, request: Request, job_id: str, since: int = Query(0, alias="from", ge=0)
    ) -> Response:
        """Server-sent events from `from` (or Last-Event-ID) on, to the final one."""
        if not self._spool.exists(job_id):
            return _not_found(job_id)
        last = request.headers.get("last-event-id", "")
        seq = int(last) if last.isdecimal() else since
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        stream = self._stream(job_id, seq)
        return StreamingResponse(stream, media_type="text/event-stream", headers=headers)

    async def file(self, job_id: str, name: str | None = None) -> Response:
        """An artifact, whole or a part of it (Range). Its ETag is its sha256."""
        if not self._spool.exists(job_id):
            return _not_found(job_id)
        artifacts = described(self._spool, job_id)["artifacts"]
        wanted = [row for row in artifacts if name in (None, row["name"])]
        path = self._path(job_id, wanted[0]["name"]) if wanted else None
        if path is None:
            return _not_found(name or job_id)
        headers = {"ETag": f'"{wanted[0]["sha256"]}"'}
        return FileResponse(path, media_type=wanted[0]["media_type"], headers=headers)

    async def has_input(self, name: str) -> Response:
        path = self._input(name)
        if path is None or not path.is_file():
            return _not_found(name)
        return JSONResponse({"name": f"inputs/{name}", "bytes": path.stat().st_size})

    async def put_input(self, request: Request, name: str) -> Response:
        """A file that a job will name; it is called by its own sha256, and in place when whole."""
        path = self._input(name)
        if path is None:
            message = f"not the name of an input: {name!r}"
            return refusal(Failure("bad_input", message, "inputs/<sha256>.<suffix>"))
        try:
            await _received(request, path)
        except Failure as failure:
            return refusal(failure)
        return JSONResponse({"name": f"inputs/{name}", "bytes": path.stat().st_size})

    async def _stream(self, job_id: str, seq: int) -> AsyncIterator[bytes]:
        yield b": here\n\n"
        async for line in self._spool.lines(job_id, seq):
            if line is None:
                yield b": still here\n\n"
                continue
            seq += 1
            yield f"id: {seq}\nevent: {kind_of(line)}\ndata: ".encode() + line + b"\n"

    def _path(self, job_id: str, name: str) -> Path | None:
        folder = (Path(self._layout.job(job_id)) / "outputs").resolve()
        path = (folder / name).resolve()
        return path if folder in path.parents and path.is_file() else None

    def _input(self, name: str) -> Path | None:
        folder = Path(self._layout.root) / "inputs"
        return folder / name if INPUT_NAME.fullmatch(name) else None


async def _received(request: Request, path: Path) -> None:
    """Raises Failure: bad_input when it is not what its name says, disk_full."""
    digest, part = hashlib.sha256(), path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        refuse_when_simulated_full()
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            async for block in request.stream():
                digest.update(block)
                file.write(block)
        if digest.hexdigest() != path.name[:64]:
            raise Failure("bad_input", "what came is not what its name says", "send it again")
        part.replace(path)
    except OSError as error:
        if error.errno not in (*FULL_DISK_ERRNOS, errno.EFBIG):
            raise
        message = f"the file could not be stored: {error}"
        raise Failure("disk_full", message, FULL_DISK_REMEDY) from error
    finally:
        part.unlink(missing_ok=True)


def _artifact(job_id: str, event: Json) -> Json:
    named = ("name", "path", "bytes", "sha256", "media_type", "width", "height", "frames", "fps")
    found = {name: event[name] for name in named if name in event}
    return {**found, "url": f"/files/{job_id}/{event['name']}"}


def _not_found(what: str) -> JSONResponse:
    return refusal(Failure("failed", f"there is no {what} here"), 404)
