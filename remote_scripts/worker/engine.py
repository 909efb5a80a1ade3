"""The engine child: keeps a workload's handler and its models in memory, runs one job at a time."""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from worker.layout import Layout, write_all
from worker.lines import error_fields
from worker.report import (
    FULL_DISK_ERRNOS,
    FULL_DISK_REMEDY,
    Failure,
    JobContext,
    Json,
    Sink,
    bind,
    progress,
)

OOM_REMEDY = "use a smaller size, a lighter engine (--engine), or a GPU with more memory"


def main(_verb: str, argv: list[str]) -> int:
    """`engine WORKLOAD FD`: job lines on stdin, event lines to file descriptor FD."""
    workload, events = argv[0], int(argv[1])
    os.set_inheritable(events, False)
    inbox = Inbox()
    threading.Thread(target=inbox.read, daemon=True).start()
    for order in inbox.orders():
        os.environ.update(order["secrets"])

        def sink(kind: str, fields: Json) -> None:
            event = json.dumps({"event": kind, **fields}, default=str)
            write_all(events, event.encode() + b"\n")

        context = JobContext(
            id=order["job"]["id"],
            directory=Path(order["dir"]),
            workspace=Path(Layout.from_environment().root),
            is_cancelled=partial(inbox.is_cancelled, order["job"]["id"]),
        )
        sink(*outcome(workload, order["job"], sink, context))
    unload = getattr(sys.modules.get(f"{workload}.handler"), "unload", None)
    if unload:
        unload()
    return 0


class Inbox:
    """What the daemon says: jobs, one after the other, and cancellations at any time."""

    def __init__(self) -> None:
        self._cancelled: set[str] = set()
        self._jobs: queue.SimpleQueue[Json | None] = queue.SimpleQueue()
        self._is_busy = False

    def orders(self) -> Iterator[Json]:
        while (order := self._jobs.get()) is not None:
            self._is_busy = True
            yield order
            self._is_busy = False

    def is_cancelled(self, job_id: str) -> bool:
        return job_id in self._cancelled

    def read(self) -> None:
        for line in sys.stdin.buffer:
            message = json.loads(line)
            if message["op"] == "cancel":
                self._cancelled.add(message["id"])
            else:
                self._jobs.put(message)
        if self._is_busy:
            # The daemon has died: nobody can hear the result, and the GPU's memory is wanted.
            os._exit(1)
        self._jobs.put(None)


def outcome(workload: str, job: Json, sink: Sink, context: JobContext) -> tuple[str, Json]:
    """Runs the handler once; its final event as (kind, fields). Never raises."""
    started = time.monotonic()
    try:
        with bind(sink, context):
            handler = import_module(f"{workload}.handler").handler
            metrics = _exhaust(handler(job))
    except Failure as failure:
        return "error", error_fields(failure.code, failure.message, failure.remedy)
    except Exception as error:  # noqa: BLE001 -- a handler may raise anything; it ends the job only
        return "error", _named(error)
    return "done", {"metrics": {"total_s": round(time.monotonic() - started, 3), **metrics}}


def _exhaust(result: Any) -> Json:
    """The metrics of a handler that returns them, or that yields progress before it does."""
    if result is None or isinstance(result, dict):
        return result or {}
    steps = iter(result)
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            return end.value or {}
        progress(str(step.get("stage", "")), step.get("done", 0), step.get("total"))


def _named(error: Exception) -> Json:
    trace = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    message = f"{type(error).__name__}: {error}"
    if isinstance(error, OSError) and error.errno in FULL_DISK_ERRNOS:
        return error_fields("disk_full", message, FULL_DISK_REMEDY, trace)
    # torch's own class, known by name: torch is not imported here.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return error_fields("oom", message, OOM_REMEDY, trace)
    return error_fields("failed", message, "", trace)
