"""Runs a command to its end on anything that can start one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from gpuctl.errors import ConnectionFailed
from gpuctl.remote.base import LOST, Completed, Process

Start = Callable[[Sequence[str]], Process]

_INLINE_STDIN_BYTES = 32 << 10


def run(start: Start, argv: Sequence[str], stdin: bytes, timeout_s: float) -> Completed:
    """What `argv` left; LOST when the link went first.

    Raises ConnectionFailed after `timeout_s`.
    """
    process = start(argv)
    late = threading.Event()

    def stop() -> None:
        late.set()
        process.close()

    timer = threading.Timer(timeout_s, stop)
    timer.daemon = True
    timer.start()
    try:
        completed = _collect(process, stdin)
    finally:
        timer.cancel()
        process.close()
    if late.is_set():
        raise ConnectionFailed(f"`{argv[0]}` did not end within {timeout_s:g} s")
    return completed


def _collect(process: Process, stdin: bytes) -> Completed:
    feeder = threading.Thread(target=_feed, args=(process, stdin), name="stdin", daemon=True)
    if len(stdin) > _INLINE_STDIN_BYTES:
        # More than a pipe or window may hold: the command's output has to be read meanwhile.
        feeder.start()
    else:
        _feed(process, stdin)
    stdout = bytearray()
    try:
        while chunk := process.read():
            stdout += chunk
        code = process.wait()
    except ConnectionFailed:
        code = LOST
    return Completed(code, stdout.decode("utf-8", "replace"), process.stderr_text())


def _feed(process: Process, stdin: bytes) -> None:
    try:
        if stdin:
            process.write(stdin)
        process.close_stdin()
    except ConnectionFailed:
        return  # The reader meets the same loss and reports it.
