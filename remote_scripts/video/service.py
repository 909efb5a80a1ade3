"""`run.py service video [--host H] [--port N]`: the HTTP service, until it is ended."""

from __future__ import annotations

import argparse
import os
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from video import handler, sim_launch, starting
from worker import ports
from worker.bootstrap import Bootstrap, BootstrapFailed
from worker.http_guard import is_loopback
from worker.layout import SCRIPTS, Layout
from worker.report import Failure

if TYPE_CHECKING:
    import uvicorn

PORT = 8080
TOKEN = "SERVICE_TOKEN"
GONE_POLL_S = 5.0


def main(argv: list[str]) -> int:
    """Exit codes: 0 ended, 1 it cannot listen or be set up, 2 usage (public and no token)."""
    parser = argparse.ArgumentParser(prog="run.py service video")
    parser.add_argument("--host", default=os.environ.get("SERVICE_HOST") or ports.host())
    parser.add_argument("--port", type=int, default=ports.port(PORT))
    given = parser.parse_args(argv)
    token = os.environ.get(TOKEN) or None
    if token is None and not is_loopback(given.host):
        print(
            f"{given.host} is open to others: set {TOKEN}, or listen on 127.0.0.1", file=sys.stderr
        )
        return 2
    layout = Layout.from_environment()
    if handler.needs_venv({}):
        _become_one_with_packages(layout, argv)
        return 1
    try:
        listener = socket.create_server((given.host, given.port), backlog=128)
    except OSError as error:
        print(f"cannot listen on {given.host}:{given.port}: {error.strerror}", file=sys.stderr)
        return 1
    starting.is_over(Path(layout.root))
    if sim_launch.is_wanted():
        threading.Thread(target=_start_simulated, args=(layout,), daemon=True).start()
    _serve(layout, token, listener)
    return 0


def _serve(layout: Layout, token: str | None, listener: socket.socket) -> None:
    import uvicorn

    from video.server import application

    config = uvicorn.Config(
        application(layout, token),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=2,
        server_header=False,
    )
    host, port = listener.getsockname()[:2]
    print(f"video service on {host}:{port}", file=sys.stderr, flush=True)
    server = uvicorn.Server(config)
    threading.Thread(target=_end_with, args=(Path(layout.root), server), daemon=True).start()
    server.run(sockets=[listener])


def _end_with(workspace: Path, server: uvicorn.Server) -> None:
    """A workspace that is gone takes its service with it, as it takes the worker."""
    while workspace.exists() and not server.should_exit:
        time.sleep(GONE_POLL_S)
    server.should_exit = True


def _start_simulated(layout: Layout) -> None:
    # A job that needs it says why it did not start; health says that it is not there.
    with suppress(Failure, OSError):
        sim_launch.ensured(Path(layout.root))


def _become_one_with_packages(layout: Layout, argv: list[str]) -> None:
    """On a machine whose Python lacks what the service needs: the same in a venv that has it.
    Returns only when that cannot be made."""

    def tell(_kind: str, fields: dict[str, object]) -> None:
        print(fields.get("message") or fields.get("stage"), file=sys.stderr, flush=True)

    try:
        python = Bootstrap(layout, "video", tell).python_for({})
    except BootstrapFailed as failure:
        print(f"{failure}\n{failure.remedy}", file=sys.stderr)
        return
    os.execv(python, [python, "-B", f"{SCRIPTS}/run.py", "service", "video", *argv])
