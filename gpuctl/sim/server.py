"""The simulator's process: `python -m gpuctl.sim.server FOLDER [name=value …]`."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import sys
import threading
import time
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from gpuctl.sim.admin import admin_routes
from gpuctl.sim.api import v2_routes
from gpuctl.sim.gate import Gate, problem_response
from gpuctl.sim.problems import Problem
from gpuctl.sim.queue_api import JobApi
from gpuctl.sim.queue_worker_api import WorkerApi
from gpuctl.sim.registry import ImageRegistry, OwnPort
from gpuctl.sim.store import SIM_FILE, read_json, write_json
from gpuctl.sim.wire import RECORD, Recorder
from gpuctl.sim.world import World

IDLE_STOP_S = 3600.0
FORGOTTEN_S = 6 * 3600.0
WATCH_S = 1.0


class Simulator:
    """One uvicorn server and what has to happen around it."""

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        self._folder = folder
        self._idle_stop_s = float(settings.get("idle_stop_s", IDLE_STOP_S))
        before = read_json(folder / SIM_FILE) or {}
        self._token: str = before.get("token") or f"rpa_sim_{secrets.token_hex(24)}"
        self._socket = _listen(before.get("port") or 0)
        self._port: int = self._socket.getsockname()[1]
        self._images_socket = _listen(before.get("registry_port") or 0)
        self._images_port: int = self._images_socket.getsockname()[1]
        self._images_password: str = before.get("registry_password") or secrets.token_hex(24)
        self._last_request = time.monotonic()
        self._world = World(folder, f"http://127.0.0.1:{self._port}/v2", settings)
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._with_images(self._app()),
                lifespan="off",
                access_log=False,
                log_level="warning",
                timeout_graceful_shutdown=1,
            )
        )

    def run(self) -> None:
        self._world.pods.resume()
        self._world.endpoints.run()
        threading.Thread(target=self._watch, daemon=True).start()
        images = {"registry_port": self._images_port, "registry_password": self._images_password}
        write_json(
            self._folder / SIM_FILE,
            {"port": self._port, "token": self._token, "pid": os.getpid(), **images},
        )
        self._server.run(sockets=[self._socket, self._images_socket])
        self._world.endpoints.close()
        self._world.pods.close()
        self._world.save()

    def _app(self) -> ASGIApp:
        routes = [
            *v2_routes(self._world, lambda: self._server.should_exit),
            *admin_routes(self._world, self._shut_down),
            *JobApi(self._world.endpoints, self._world.faults, self._is_closing).routes(),
            *WorkerApi(self._world.endpoints, self._is_closing).routes(),
        ]
        app = Starlette(
            routes=routes,
            exception_handlers={Problem: problem_response, HTTPException: _http_problem},
        )
        gate = Gate(app, self._world, self._token, self._touch)
        record = os.environ.get(RECORD)
        return Recorder(gate, Path(record), self._folder) if record else gate

    def _with_images(self, app: ASGIApp) -> ASGIApp:
        images = ImageRegistry(self._folder / "registry", self._images_port, self._images_password)
        return OwnPort(app, images.app(), self._images_port, self._touch)

    def _touch(self) -> None:
        self._last_request = time.monotonic()

    def _is_closing(self) -> bool:
        return self._server.should_exit

    def _shut_down(self) -> None:
        self._server.should_exit = True

    def _watch(self) -> None:
        """Ends a simulator that nobody uses, so that none is left behind for ever."""
        while not self._server.should_exit:
            time.sleep(WATCH_S)
            quiet_s = time.monotonic() - self._last_request
            running = self._world.pods.running_count() + self._world.endpoints.running_count()
            idle = quiet_s > self._idle_stop_s and running == 0
            if idle or quiet_s > FORGOTTEN_S or not self._folder.is_dir():
                self._shut_down()


async def _http_problem(_: Request, problem: Exception) -> Response:
    assert isinstance(problem, HTTPException)
    response = Problem(problem.status_code, problem.detail).response()
    response.headers.update(problem.headers or {})
    return response


def _listen(wanted: int) -> socket.socket:
    """The port of the last run when it is still free: running pods were told that address."""
    try:
        return socket.create_server(("127.0.0.1", wanted))
    except OSError:
        return socket.create_server(("127.0.0.1", 0))


def main(arguments: list[str]) -> None:
    folder = Path(arguments[0]).resolve()
    settings = dict(argument.split("=", 1) for argument in arguments[1:])
    # A handler, not SIG_IGN: what is ignored stays ignored in every command of every pod.
    signal.signal(signal.SIGHUP, lambda *_: None)
    Simulator(folder, settings).run()


if __name__ == "__main__":
    main(sys.argv[1:])
