"""The simulated ComfyUI's routes. All of them answer under `/api` too, the jobs only there."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from video.sim_queue import VERSIONS, Item, Queue
from video.sim_validation import no_prompt, prompt_id_problem

Json = dict[str, Any]
Endpoint = Callable[[Request], Awaitable[Response]]


def application(queue: Queue) -> Starlette:
    """The whole server around `queue`."""
    routes = _Routes(queue)
    both: list[tuple[str, Endpoint, list[str]]] = [
        ("/prompt", routes.submit, ["POST"]),
        ("/prompt", routes.remaining, ["GET"]),
        ("/history/{prompt_id}", routes.history, ["GET"]),
        ("/queue", routes.queue, ["GET"]),
        ("/queue", routes.change_queue, ["POST"]),
        ("/interrupt", routes.interrupt, ["POST"]),
        ("/free", routes.free, ["POST"]),
        ("/view", routes.view, ["GET"]),
        ("/upload/image", routes.upload, ["POST"]),
        ("/system_stats", routes.stats, ["GET"]),
        ("/object_info", routes.classes, ["GET"]),
        ("/object_info/{name}", routes.one_class, ["GET"]),
        ("/models/{folder}", routes.models, ["GET"]),
    ]
    known = [
        Route(prefix + path, endpoint, methods=methods)
        for prefix in ("", "/api")
        for path, endpoint, methods in both
    ]
    if queue.options.is_new:
        known += [
            Route("/api/jobs", routes.jobs, methods=["GET"]),
            Route("/api/jobs/cancel", routes.cancel_many, methods=["POST"]),
            Route("/api/jobs/{job_id}", routes.job, methods=["GET"]),
            Route("/api/jobs/{job_id}/cancel", routes.cancel, methods=["POST"]),
        ]
    known.append(Route("/sim/fault", routes.fault, methods=["POST"]))

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        work = asyncio.create_task(queue.work())
        yield
        work.cancel()

    sockets = [WebSocketRoute(path, routes.socket) for path in ("/ws", "/api/ws")]
    return Starlette(routes=[*known, *sockets], lifespan=lifespan)


class _Routes:
    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    async def submit(self, request: Request) -> Response:
        self._touch()
        try:
            body = json.loads(await request.body())
        except ValueError:
            return PlainTextResponse("500 Internal Server Error", 500)
        if "prompt" not in body:
            return JSONResponse({"error": no_prompt(), "node_errors": {}}, 400)
        problem = prompt_id_problem(body.get("prompt_id"), is_new=self._queue.options.is_new)
        if problem:
            return JSONResponse({"error": problem, "node_errors": {}}, 400)
        verdict, item = self._queue.submit(body)
        if item is None:
            return JSONResponse({"error": verdict.error, "node_errors": verdict.node_errors}, 400)
        answer = {"prompt_id": item.id, "number": item.number, "node_errors": verdict.node_errors}
        return JSONResponse(answer)

    async def remaining(self, _: Request) -> Response:
        remaining = len(self._queue.pending) + bool(self._queue.running)
        return JSONResponse({"exec_info": {"queue_remaining": remaining}})

    async def history(self, request: Request) -> Response:
        self._touch()
        prompt_id = request.path_params["prompt_id"]
        found = self._queue.history.get(prompt_id)
        return JSONResponse({prompt_id: found} if found else {})

    async def queue(self, _: Request) -> Response:
        self._touch()
        running = [self._queue.running.as_list()] if self._queue.running else []
        pending = [item.as_list() for item in self._queue.pending]
        return JSONResponse({"queue_running": running, "queue_pending": pending})

    async def change_queue(self, request: Request) -> Response:
        body = await request.json()
        ids = [item.id for item in self._queue.pending] if body.get("clear") else body["delete"]
        self._queue.delete(ids)
        return Response(status_code=200)

    async def interrupt(self, request: Request) -> Response:
        body = json.loads(await request.body() or b"{}")
        self._queue.interrupt(body.get("prompt_id"))
        return Response(status_code=200)

    async def free(self, _: Request) -> Response:
        return Response(status_code=200)

    async def view(self, request: Request) -> Response:
        self._touch()
        given = request.query_params
        root = self._queue.options.folder / given.get("type", "output")
        path = (root / given.get("subfolder", "") / given["filename"]).resolve()
        if root.resolve() not in path.parents or not path.is_file():
            return Response(status_code=404)
        if self._queue.faults.pop("truncate", None):
            return Response(
                path.read_bytes()[: path.stat().st_size // 2],
                headers={"content-length": str(path.stat().st_size)},
                media_type="video/mp4",
            )
        return FileResponse(path)

    async def upload(self, request: Request) -> Response:
        self._touch()
        form = await request.form()
        file: Any = form["image"]
        content, name = await file.read(), Path(str(file.filename)).name
        root = self._queue.options.folder / "input" / str(form.get("subfolder", ""))
        root.mkdir(parents=True, exist_ok=True)
        target, number = root / name, 1
        is_over = str(form.get("overwrite", "")) in ("true", "1")
        while target.exists() and not is_over and target.read_bytes() != content:
            target = root / f"{Path(name).stem} ({number}){Path(name).suffix}"
            number += 1
        target.write_bytes(content)
        answer = {
            "name": target.name,
            "subfolder": str(form.get("subfolder", "")),
            "type": str(form.get("type", "input")),
        }
        return JSONResponse(answer)

    async def stats(self, _: Request) -> Response:
        self._touch()
        version = VERSIONS[self._queue.options.mode]
        system = {"os": "posix", "comfyui_version": version, "python_version": "3", "argv": ["sim"]}
        device = {"name": "simulated", "type": "cpu", "index": None, "vram_total": 0}
        return JSONResponse({"system": system, "devices": [device]})

    async def classes(self, _: Request) -> Response:
        self._touch()
        return JSONResponse(self._queue.classes())

    async def one_class(self, request: Request) -> Response:
        name, classes = request.path_params["name"], self._queue.classes()
        return JSONResponse({name: classes[name]} if name in classes else {})

    async def models(self, request: Request) -> Response:
        return JSONResponse(self._queue.files(request.path_params["folder"]))

    async def jobs(self, _: Request) -> Response:
        queue = self._queue
        items = [*([queue.running] if queue.running else []), *queue.pending]
        found = [self._row(item.id) for item in items] + [self._row(key) for key in queue.history]
        page = {"offset": 0, "limit": None, "total": len(found), "has_more": False}
        return JSONResponse({"jobs": found, "pagination": page})

    async def job(self, request: Request) -> Response:
        row = self._row(request.path_params["job_id"])
        return JSONResponse(row) if row else JSONResponse({"error": "Job not found"}, 404)

    async def cancel(self, request: Request) -> Response:
        return JSONResponse({"cancelled": self._cancelled(request.path_params["job_id"])})

    async def cancel_many(self, request: Request) -> Response:
        body = await request.json()
        found = [self._cancelled(job_id) for job_id in body["job_ids"]]
        return JSONResponse({"cancelled": any(found)})

    async def fault(self, request: Request) -> Response:
        """{"hold": true}, {"fail": {class_type, message}}, {"drop": true}, {"truncate": true}"""
        asked = await request.json()
        for name, value in asked.items():
            if name == "drop":
                for socket in self._queue.sockets.values():
                    socket.put_nowait(None)
            elif value is None:
                self._queue.faults.pop(name, None)
            else:
                self._queue.faults[name] = value
        return Response(status_code=200)

    async def socket(self, socket: WebSocket) -> None:
        await socket.accept()
        sid = socket.query_params.get("clientId") or uuid.uuid4().hex
        outbox: asyncio.Queue[Any] = asyncio.Queue()
        self._queue.sockets[sid] = outbox
        self._queue.tell_status(outbox, sid)
        reader = asyncio.create_task(_until_closed(socket, outbox))
        try:
            while (message := await outbox.get()) is not None:
                if isinstance(message, bytes):
                    await socket.send_bytes(message)
                else:
                    await socket.send_text(json.dumps(message))
            await socket.close()
        except (WebSocketDisconnect, RuntimeError):
            pass
        finally:
            reader.cancel()
            if self._queue.sockets.get(sid) is outbox:
                del self._queue.sockets[sid]

    def _cancelled(self, job_id: str) -> bool:
        return self._queue.delete([job_id]) or self._queue.interrupt(job_id)

    def _row(self, job_id: str) -> Json:
        queue = self._queue
        if queue.running and queue.running.id == job_id:
            return {"id": job_id, "status": "in_progress"}
        if any(item.id == job_id for item in queue.pending):
            return {"id": job_id, "status": "pending"}
        found = queue.history.get(job_id)
        if not found:
            return {}
        last = found["status"]["messages"][-1][0]
        status = {"execution_success": "completed", "execution_interrupted": "cancelled"}
        return {"id": job_id, "status": status.get(last, "failed"), "outputs": found["outputs"]}

    def _touch(self) -> None:
        self._queue.asked_at = time.monotonic()


async def _until_closed(socket: WebSocket, outbox: asyncio.Queue[Any]) -> None:
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        while True:
            await socket.receive_text()
    outbox.put_nowait(None)


__all__ = ["Item", "application"]
