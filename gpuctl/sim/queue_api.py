"""The job API of serverless endpoints as clients see it, with its limits (facts: runpod.md §4)."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from gpuctl.models import Json
from gpuctl.sim.endpoints import Endpoints, Served
from gpuctl.sim.faults import Faults
from gpuctl.sim.problems import Problem
from gpuctl.sim.queue_jobs import QueueJob

RUN_LIMIT_BYTES, SYNC_LIMIT_BYTES = 10 * 2**20, 20 * 2**20
# Requests in 10 seconds, per endpoint and operation.
RATES = {"run": 1000, "runsync": 2000, "status": 2000, "stream": 2000, "cancel": 100, "retry": 100}
RATES |= {"purge-queue": 2, "health": 2000}
RATE_WINDOW_S = 10.0
SHORTEST_WAIT_MS, LONGEST_WAIT_MS, SYNC_WAIT_MS, STREAM_WAIT_MS = 1000, 300_000, 90_000, 10_000
POLL_S = 0.01

Answer = Callable[[Request, Served], Awaitable[Response]]


class RateLimits:
    """How often each operation of each endpoint was asked for lately."""

    def __init__(self) -> None:
        self._asked: dict[tuple[str, str], deque[float]] = {}
        self._lock = threading.Lock()

    def check(self, endpoint_id: str, operation: str) -> None:
        """Raises Problem 429."""
        now = time.monotonic()
        with self._lock:
            asked = self._asked.setdefault((endpoint_id, operation), deque())
            while asked and now - asked[0] > RATE_WINDOW_S:
                asked.popleft()
            if len(asked) >= RATES[operation]:
                raise Problem(429, f"too many {operation} requests")
            asked.append(now)


class JobApi:
    """The client's side under /jobs/v2, in place of https://api.runpod.ai/v2."""

    def __init__(
        self, endpoints: Endpoints, faults: Faults, is_closing: Callable[[], bool]
    ) -> None:
        self._endpoints, self._faults, self._is_closing = endpoints, faults, is_closing
        self._limits = RateLimits()

    def routes(self) -> list[BaseRoute]:
        return [
            self._route("run", "POST", self._run),
            self._route("runsync", "POST", self._runsync),
            self._route("status/{job}", "GET", self._status),
            self._route("stream/{job}", "GET", self._stream),
            self._route("cancel/{job}", "POST", self._cancel),
            self._route("retry/{job}", "POST", self._retry),
            self._route("purge-queue", "POST", self._purge),
            self._route("health", "GET", self._health),
        ]

    def _route(self, path: str, method: str, answer: Answer) -> Route:
        operation = path.split("/")[0]

        async def endpoint(request: Request) -> Response:
            served = self._endpoints.served(request.path_params["endpoint"])
            self._limits.check(request.path_params["endpoint"], operation)
            if self._faults.take("job-rate-limit") is not None:
                refusal = Problem(429, f"too many {operation} requests").response()
                refusal.headers["Retry-After"] = "1"
                return refusal
            return await answer(request, served)

        return Route(f"/jobs/v2/{{endpoint}}/{path}", endpoint, methods=[method])

    async def _run(self, request: Request, served: Served) -> Response:
        job = await _submitted(request, served, RUN_LIMIT_BYTES)
        if self._faults.take("run-500") is not None:
            raise Problem(500, "internal server error")
        return JSONResponse({"id": job.id, "status": job.status})

    async def _runsync(self, request: Request, served: Served) -> Response:
        wait_s = _wait_s(request, SYNC_WAIT_MS)
        job = await _submitted(request, served, SYNC_LIMIT_BYTES, is_sync=True)
        await until(lambda: job.is_final, wait_s, self._is_closing)
        return JSONResponse(job.as_json())

    async def _status(self, request: Request, served: Served) -> Response:
        return JSONResponse(_job(request, served).as_json())

    async def _stream(self, request: Request, served: Served) -> Response:
        job, wait_s = _job(request, served), _wait_s(request, STREAM_WAIT_MS)
        await until(lambda: bool(job.stream) or job.is_final, wait_s, self._is_closing)
        return JSONResponse({"status": job.status, "stream": served.queue.drain_stream(job)})

    async def _cancel(self, request: Request, served: Served) -> Response:
        job = _job(request, served)
        served.queue.cancel(job)
        return JSONResponse({"id": job.id, "status": job.status})

    async def _retry(self, request: Request, served: Served) -> Response:
        job = _job(request, served)
        if not served.queue.retry(job):
            raise Problem(400, "only failed or timed out jobs can be retried")
        return JSONResponse({"id": job.id, "status": job.status})

    async def _purge(self, _request: Request, served: Served) -> Response:
        return JSONResponse({"removed": served.queue.purge(), "status": "completed"})

    async def _health(self, _request: Request, served: Served) -> Response:
        return JSONResponse(await run_in_threadpool(_health, served))


async def _submitted(
    request: Request, served: Served, limit_bytes: int, *, is_sync: bool = False
) -> QueueJob:
    content = await request.body()
    if len(content) > limit_bytes:
        raise Problem(413, f"the request body exceeds {limit_bytes // 2**20} MB")
    try:
        body: Any = json.loads(content)
    except ValueError:
        raise Problem(400, "the request body is not JSON") from None
    if not isinstance(body, dict) or not isinstance(body.get("input"), dict):
        raise Problem(400, "input is required and must be an object")
    return served.queue.add(body["input"], is_sync=is_sync, **_terms(body, served))


def _terms(body: Json, served: Served) -> Json:
    policy = body.get("policy") or {}
    ttl_ms, execution_ms = policy.get("ttl", 86_400_000), policy.get("executionTimeout")
    if ttl_ms < 10_000 or (execution_ms is not None and execution_ms < 5000):
        raise Problem(400, "policy.ttl is at least 10000, policy.executionTimeout at least 5000")
    limit_ms = execution_ms or served.record["timeout"] or 600_000
    return {
        "ttl_s": ttl_ms / 1000,
        "execution_limit_s": limit_ms / 1000,
        "low_priority": bool(policy.get("lowPriority", False)),
    }


def _job(request: Request, served: Served) -> QueueJob:
    job = served.queue.get(request.path_params["job"])
    if job is None:
        raise Problem(404, "job not found")
    return job


def _wait_s(request: Request, default_ms: int) -> float:
    text = request.query_params.get("wait", str(default_ms))
    if not text.isdecimal() or not SHORTEST_WAIT_MS <= int(text) <= LONGEST_WAIT_MS:
        raise Problem(400, f"wait must be between {SHORTEST_WAIT_MS} and {LONGEST_WAIT_MS}")
    return int(text) / 1000


def _health(served: Served) -> Json:
    summary = served.workers.listed(served.version, time.time())["summary"]
    return {
        "jobs": served.queue.health(),
        "workers": {**summary, "ready": summary["idle"] + summary["running"]},
    }


async def until(look: Callable[[], bool], limit_s: float, is_closing: Callable[[], bool]) -> None:
    deadline = time.monotonic() + limit_s
    while not look() and time.monotonic() < deadline and not is_closing():
        await asyncio.sleep(POLL_S)
