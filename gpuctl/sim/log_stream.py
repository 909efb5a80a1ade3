"""A pod's log as server-sent events: a backfill, then whatever comes; it never ends by itself."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from gpuctl.sim import clock
from gpuctl.sim.logs import Line, PodLog
from gpuctl.sim.problems import Problem

POLL_S = 0.05
KEEP_ALIVE_S = 15.0
MAX_TAIL = 5000
SEQUENCE_SUFFIX = re.compile(r"/\d+$")


@dataclass(frozen=True, slots=True)
class Wanted:
    """`since` is RFC 3339; it is shown too when `inclusive`."""

    source: str | None
    tail: int
    since: str | None
    inclusive: bool


def log_endpoint(
    find: Callable[[Request], PodLog], is_closing: Callable[[], bool]
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        log = find(request)
        lines = _stream(log, _wanted(request), is_closing)
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        return StreamingResponse(lines, media_type="text/event-stream", headers=headers)

    return endpoint


def _wanted(request: Request) -> Wanted:
    """Last-Event-ID beats since, since beats tail (runpod.md §2.5)."""
    query = request.query_params
    source, tail = query.get("source"), query.get("tail", "100")
    if source not in (None, "container", "system"):
        raise Problem(422, "invalid query", ["source: container or system"])
    if not tail.isdecimal() or int(tail) > MAX_TAIL:
        raise Problem(422, "invalid query", [f"tail: an integer from 0 to {MAX_TAIL}"])
    last = request.headers.get("last-event-id")
    since = last or query.get("since")
    return Wanted(source, int(tail), _normal(since), inclusive=last is None)


def _normal(since: str | None) -> str | None:
    if since is None:
        return None
    try:
        return clock.rfc3339(clock.parsed(SEQUENCE_SUFFIX.sub("", since)))
    except ValueError:
        raise Problem(422, "invalid query", ["since: must be RFC 3339"]) from None


async def _stream(
    log: PodLog, wanted: Wanted, is_closing: Callable[[], bool]
) -> AsyncIterator[str]:
    seen = log.after("")  # everything so far, so that nothing between falls through
    position = seen[-1].ts if seen else ""
    for line in _backfill(log, wanted, position):
        yield _frame(line)
    yield ": backfill done\n\n"
    quiet_s = 0.0
    while not is_closing():
        fresh = log.after(position)
        for line in fresh:
            position = line.ts
            if wanted.source in (None, line.source):
                yield _frame(line)
        quiet_s = 0.0 if fresh else quiet_s + POLL_S
        if quiet_s >= KEEP_ALIVE_S:
            quiet_s = 0.0
            yield ": keep-alive\n\n"
        await asyncio.sleep(POLL_S)


def _backfill(log: PodLog, wanted: Wanted, until: str) -> list[Line]:
    if wanted.since is None:
        lines = log.tail(wanted.tail, wanted.source)
    else:
        lines = log.after(wanted.since, inclusive=wanted.inclusive)
    return [line for line in lines if line.ts <= until and wanted.source in (None, line.source)]


def _frame(line: Line) -> str:
    data = json.dumps({"source": line.source, "line": line.line, "ts": line.ts})
    return f"id: {line.ts}\ndata: {data}\n\n"
