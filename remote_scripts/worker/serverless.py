"""The RunPod serverless front: the same handler under RunPod's own worker SDK."""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
import threading
from collections.abc import AsyncIterator
from importlib import import_module
from pathlib import Path
from typing import Any

from worker import claims
from worker.layout import Layout
from worker.queue_front import Front, Json, Tell

# A progress update that the SDK still sends from a thread of its own would arrive after the result.
FLUSH_LIMIT_S = 5.0
_SENDER = "(_thread_target)"
_STREAMING: Json = {"event": "loading", "stage": "stream", "message": "", "streams": True}


def main(_verb: str, argv: list[str]) -> int:
    """`serverless WORKLOAD [--rp_…]`: hands the process over to the SDK."""
    # Its own default repeats every result, base64 and all, in the log.
    os.environ.setdefault("RUNPOD_LOG_LEVEL", "INFO")
    import runpod  # type: ignore[import-untyped]  # the machine's own; 1.4 s

    if not argv:
        sys.stderr.write("usage: run.py serverless WORKLOAD\n")
        return 2
    layout, workload = Layout.from_environment(), argv[0]
    os.environ.setdefault("HF_HOME", f"{layout.root}/.cache")
    claims.forget_old(Path(layout.root) / "jobs")
    sys.argv = [sys.argv[0], *argv[1:]]
    runpod.serverless.start(_configuration(layout, workload, _teller(runpod)))
    return 0


def _configuration(layout: Layout, workload: str, tell: Tell) -> Json:
    """A handler that yields is streamed; any other answers at its end."""
    handler = import_module(f"{workload}.handler").handler
    if inspect.isgeneratorfunction(handler):

        async def stream(job: Json) -> AsyncIterator[Json]:
            async for piece in stream_beside_loop(layout, workload, job, tell):
                yield piece

        return {"handler": stream, "return_aggregate_stream": True}

    async def handle(job: Json) -> Json:
        return await run_beside_loop(layout, workload, job, tell)

    return {"handler": handle}


def _teller(runpod: Any) -> Tell:
    """How progress leaves. Where there is no queue (a trial on one's own computer): stderr."""
    if os.environ.get("RUNPOD_WEBHOOK_POST_OUTPUT"):
        tell: Tell = runpod.serverless.progress_update
        return tell

    def say(job: Json, fields: Json) -> None:
        sys.stderr.write(f"{job['id']}: {fields}\n")

    return say


async def run_beside_loop(layout: Layout, workload: str, job: Json, tell: Tell) -> Json:
    """Runs one job in a thread, so that a cancellation can reach the loop meanwhile."""
    cancelled = threading.Event()
    front = Front(layout, job, cancelled.is_set, tell)

    def run() -> Json:
        result = front.run(workload)
        flush()
        return result

    return await _awaited(asyncio.ensure_future(asyncio.to_thread(run)), cancelled)


async def stream_beside_loop(
    layout: Layout, workload: str, job: Json, tell: Tell
) -> AsyncIterator[Json]:
    """What happens as it happens, then `{"event": "result", …}` or `{"error": …}`."""
    loop, pieces = asyncio.get_running_loop(), asyncio.Queue[Json]()
    cancelled = threading.Event()

    def send(_job: Json, piece: Json) -> None:
        loop.call_soon_threadsafe(pieces.put_nowait, piece)

    front = Front(layout, job, cancelled.is_set, send, is_streamed=True)
    tell(job, _STREAMING)

    def run() -> None:
        result = front.run(workload)
        flush()
        send(job, result if "error" in result else {"event": "result", **result})

    work = asyncio.ensure_future(asyncio.to_thread(run))
    try:
        while True:
            piece = await pieces.get()
            yield piece
            if "error" in piece or piece["event"] == "result":
                break
    finally:
        await _settled(work, cancelled)


async def _awaited(work: asyncio.Future[Json], cancelled: threading.Event) -> Json:
    try:
        return await asyncio.shield(work)
    finally:
        await _settled(work, cancelled)


async def _settled(work: asyncio.Future[Any], cancelled: threading.Event) -> None:
    """The GPU is taken until the handler has seen its end: the next job must not start before."""
    if not work.done():
        cancelled.set()
        await asyncio.wait([work])


def flush() -> None:
    """Waits until every progress update has left, so that none can follow the result."""
    for thread in threading.enumerate():
        if _SENDER in thread.name:
            thread.join(FLUSH_LIMIT_S)
