"""Runs flux jobs in a Python with torch: one order a line on stdin, one report a line on stdout.

An order is {"input", "folder", "workspace", "cancel_at_step", "sabotage"}; a report is
{"events", "metrics" | "failure"}. One process serves all tests, as the worker's engine does.
"""

from __future__ import annotations

import errno
import functools
import json
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from flux.handler import handler, needs_venv
from worker import report


def main() -> None:
    tell({"ready": True, "needs_venv": needs_venv({})})
    for line in sys.stdin:
        tell(serve(json.loads(line)))


def tell(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def serve(order: dict[str, Any]) -> dict[str, Any]:
    events: list[dict[str, Any]] = []

    def is_cancelled() -> bool:
        steps = [event["done"] for event in events if event.get("stage") == "denoise"]
        return bool(steps) and steps[-1] == order.get("cancel_at_step")

    context = report.JobContext(
        "job", Path(order["folder"]), Path(order["workspace"]), is_cancelled
    )
    try:
        with (
            report.bind(lambda kind, fields: events.append({"event": kind, **fields}), context),
            sabotaged(order.get("sabotage")),
        ):
            return {"events": events, "metrics": handler({"id": "job", "input": order["input"]})}
    except report.Failure as failure:
        named = {"code": failure.code, "message": failure.message, "remedy": failure.remedy}
        return {"events": events, "failure": named}
    except Exception:  # noqa: BLE001 - the test that asked fails with it
        return {"events": events, "crash": traceback.format_exc()}


@contextmanager
def sabotaged(kind: str | None) -> Iterator[None]:
    """What cannot be had here: a full GPU, a full disk. The errors are real."""
    if kind is None:
        yield
        return
    import diffusers
    import torch

    if kind == "oom":
        original = diffusers.FluxPipeline.__call__

        @functools.wraps(original)
        def call(*_: Any, **__: Any) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

        patch = mock.patch.object(diffusers.FluxPipeline, "__call__", call)
    else:
        full = OSError(errno.ENOSPC, "No space left on device")
        patch = mock.patch("flux.pictures.save", side_effect=full)
    with patch:
        yield


if __name__ == "__main__":
    main()
