"""The job API of serverless endpoints as the worker SDK sees it (facts: feasibility.md §5)."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from gpuctl.models import Json
from gpuctl.sim.endpoints import Endpoints, Served
from gpuctl.sim.queue_api import until
from gpuctl.sim.queue_jobs import QueueJob

# A worker's question hangs so long when there is nothing to do.
LONG_POLL_S = 10.0
BASE = "/worker/v2"


class WorkerApi:
    """Take, stop, done, stream and ping."""

    def __init__(self, endpoints: Endpoints, is_closing: Callable[[], bool]) -> None:
        self._endpoints, self._is_closing = endpoints, is_closing

    def routes(self) -> list[BaseRoute]:
        base = f"{BASE}/{{endpoint}}"
        return [
            Route(f"{base}/job-take/{{worker}}", self._take, methods=["GET"]),
            Route(f"{base}/job-stop/{{worker}}", self._stop, methods=["GET"]),
            Route(f"{base}/job-done/{{worker}}/{{job}}", self._done, methods=["POST"]),
            Route(f"{base}/job-stream/{{worker}}/{{job}}", self._piece, methods=["POST"]),
            Route(f"{base}/ping/{{worker}}", self._ping, methods=["GET"]),
        ]

    async def _take(self, request: Request) -> Response:
        served, worker = self._asking(request)
        found: list[QueueJob] = []

        def look() -> bool:
            if not served.workers.asked(worker, time.time()):
                return False
            job = served.queue.take(worker)
            found.extend([job] if job else [])
            return job is not None

        await until(look, LONG_POLL_S, self._is_closing)
        if not found:
            return Response(status_code=204)
        (job,) = found
        return JSONResponse({"id": job.id, "input": job.input})

    async def _stop(self, request: Request) -> Response:
        served, worker = self._asking(request)
        ids: list[str] = []

        def look() -> bool:
            ids.extend(served.queue.to_stop(worker))
            return bool(ids)

        await until(look, LONG_POLL_S, self._is_closing)
        return JSONResponse({"jobsToStop": ids}) if ids else Response(status_code=204)

    async def _done(self, request: Request) -> Response:
        served, worker = self._asking(request)
        said = await _body(request)
        served.queue.take_in(worker, request.path_params["job"], said)
        if said.get("status") != "IN_PROGRESS":
            served.workers.ended_job(worker, time.time())
        return JSONResponse({})

    async def _piece(self, request: Request) -> Response:
        served, worker = self._asking(request)
        served.queue.take_piece(worker, request.path_params["job"], await _body(request))
        return JSONResponse({})

    async def _ping(self, _request: Request) -> Response:
        return JSONResponse({})

    def _asking(self, request: Request) -> tuple[Served, str]:
        return (
            self._endpoints.served(request.path_params["endpoint"]),
            request.path_params["worker"],
        )


async def _body(request: Request) -> Json:
    """JSON, although its content type says it is a form."""
    said = json.loads(await request.body())
    return said if isinstance(said, dict) else {}
