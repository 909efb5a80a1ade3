"""The client's way to a workload's daemon: connect, start it, one question and its answer."""

# pathlib is not imported here: see layout.py.
# ruff: noqa: PTH110, PTH123, PTH202

from __future__ import annotations

import json
import os
import socket
import sys
import time

from worker.layout import SCRIPTS, Layout

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing costs 3 ms
    from typing import Any

START_LIMIT_S = 30.0
POLL_S = 0.004
LOG_LIMIT_BYTES = 4 << 20


class DaemonFailed(Exception):
    """The daemon could not be started; the message carries the end of its log."""


def connect(layout: Layout, workload: str) -> socket.socket | None:
    """A connection to the running daemon, or None when there is none."""
    # A socket's path is limited to 108 bytes and a workspace's is not: so a relative name.
    try:
        os.chdir(layout.run)
    except FileNotFoundError:
        return None
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        link.connect(f"{workload}.sock")
    except (FileNotFoundError, ConnectionRefusedError):
        link.close()
        return None
    return link


def connect_or_start(layout: Layout, workload: str) -> socket.socket:
    """A connection to the daemon, which is started when there is none.

    Any number may do this at once: the daemon's lock lets one through, the others step back.
    Raises DaemonFailed.
    """
    link = connect(layout, workload)
    if link:
        return link
    layout.make_run()
    started = _spawn(layout, workload)
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        link = connect(layout, workload)
        if link:
            return link
        if started.poll():
            break
        time.sleep(POLL_S)
    raise DaemonFailed(f"the worker did not start: {log_tail(layout, workload)}")


def ask(link: socket.socket, message: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Sends one question; gives the answer, and the bytes that came after it.

    The answer is {} when the daemon went away instead.
    """
    try:
        link.sendall(json.dumps(message).encode() + b"\n")
        buffer = b""
        while b"\n" not in buffer:
            block = link.recv(1 << 16)
            if not block:
                return {}, b""
            buffer += block
    except (ConnectionResetError, BrokenPipeError):
        return {}, b""
    answer, rest = buffer.split(b"\n", 1)
    return json.loads(answer), rest


def log_tail(layout: Layout, workload: str, lines: int = 8) -> str:
    """The last lines of the daemon's log, "" when there is none."""
    try:
        with open(layout.beside_socket(workload, "log"), "rb") as file:
            return b"\n".join(file.read().splitlines()[-lines:]).decode(errors="replace")
    except FileNotFoundError:
        return ""


def _spawn(layout: Layout, workload: str) -> Any:
    import subprocess  # 5 ms, paid by the first job only

    path = layout.beside_socket(workload, "log")
    too_long = os.path.exists(path) and os.path.getsize(path) > LOG_LIMIT_BYTES
    with open(path, "wb" if too_long else "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-B", f"{SCRIPTS}/run.py", "daemon", workload],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env={**os.environ, "GPUCTL_WORKSPACE": layout.root},
            start_new_session=True,
        )
