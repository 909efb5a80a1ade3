"""Starts, finds and stops the simulator's process. Light: nothing of the server is imported."""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from gpuctl.errors import ApiError, GpuctlError, TimedOut
from gpuctl.models import Json, Secret
from gpuctl.sim import processes
from gpuctl.sim.processes import FOLDER_MARKER, SERVER_MARKER
from gpuctl.sim.store import SIM_FILE, read_json

LOG_FILE = "server.log"
LOCK_SUFFIX = ".lock"
START_LIMIT_S = 30.0
STOP_LIMIT_S = 10.0
REQUEST_LIMIT_S = 30.0
PING_LIMIT_S = 5.0
POLL_S = 0.02
NO_SETTINGS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Simulator:
    """A running simulator. `api_url` takes the place of RunPod's v2 address, `registry_url` that
    of every image registry; `registry_password` is what a push to it needs."""

    api_url: str
    api_key: Secret
    pid: int
    folder: Path
    registry_url: str
    registry_password: Secret


def ensure(folder: Path, *, settings: Mapping[str, str] = NO_SETTINGS) -> Simulator:
    """The simulator of this folder, started when none answers. Raises TimedOut, GpuctlError.

    `settings` (used at a start only): provisioning_s, starting_s, idle_stop_s, scripts, and in
    capitals what every pod shall have in its environment.
    """
    found = running(folder)
    if found is not None:
        return found
    with locked(folder):
        found = running(folder)
        return found or _start(folder.resolve(), settings)


def running(folder: Path) -> Simulator | None:
    """The simulator of this folder when it answers, else None."""
    folder = folder.resolve()
    record = read_json(folder / SIM_FILE)
    if record is None or not processes.is_alive(record["pid"]):
        return None
    simulator = Simulator(
        api_url=f"http://127.0.0.1:{record['port']}/v2",
        api_key=Secret(record["token"]),
        pid=record["pid"],
        folder=folder,
        registry_url=f"http://127.0.0.1:{record.get('registry_port', 0)}",
        registry_password=Secret(record.get("registry_password", "")),
    )
    try:
        answer = _ask(simulator, "GET", "/sim/ping", limit_s=PING_LIMIT_S)
    except (ApiError, OSError, ValueError, http.client.HTTPException):
        return None
    return simulator if answer.get("pid") == simulator.pid else None


def stop(folder: Path) -> bool:
    """Ends the process and everything that runs in its pods; the pods are remembered.

    False when nothing ran. Also ends a server that does not answer. Raises GpuctlError when
    something cannot be killed.
    """
    simulator = running(folder)
    if simulator is not None:
        _ask(simulator, "POST", "/sim/shutdown")
        _wait_until_gone(simulator.pid)
    marked = str(folder.resolve())
    did_run = simulator is not None or bool(processes.with_marker(SERVER_MARKER, marked))
    left = processes.kill_all(SERVER_MARKER, marked) + processes.kill_all(FOLDER_MARKER, marked)
    if left:
        raise GpuctlError(f"processes of the simulator are still running: {left}")
    return did_run


def reset(folder: Path) -> None:
    """Stops, and forgets every pod, volume, key and fault."""
    with locked(folder):
        stop(folder)
        if (folder / SIM_FILE).exists():  # never a folder that is not a simulator's
            shutil.rmtree(folder)


def status(simulator: Simulator) -> Json:
    """Pods, network volumes and faults, as /sim/status tells them."""
    return _ask(simulator, "GET", "/sim/status")


def add_fault(
    simulator: Simulator, kind: str, *, times: int | None = None, value: str | None = None
) -> None:
    """Raises ApiError 422 for an unknown kind or value."""
    _ask(simulator, "POST", "/sim/faults", {"kind": kind, "times": times, "value": value})


def clear_faults(simulator: Simulator) -> None:
    _ask(simulator, "DELETE", "/sim/faults")


def _start(folder: Path, settings: Mapping[str, str]) -> Simulator:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    processes.kill_all(
        SERVER_MARKER, str(folder)
    )  # one that hangs must not write beside the new one
    argv = [sys.executable, "-m", "gpuctl.sim.server", str(folder)]
    argv += [f"{name}={value}" for name, value in settings.items()]
    with (folder / LOG_FILE).open("ab") as log:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            env=_environment(folder),
            start_new_session=True,
        )
    return _answering(process, folder)


def _answering(process: subprocess.Popen[bytes], folder: Path) -> Simulator:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        record = read_json(folder / SIM_FILE) or {}
        if record.get("pid") == process.pid and (found := running(folder)) is not None:
            process.returncode = 0  # it runs on by intent; without this its Popen would complain
            return found
        if process.poll() is not None:
            raise GpuctlError(
                "the simulator did not start",
                hint=f"see {folder / LOG_FILE}, or start afresh: gpuctl sim reset",
            )
        time.sleep(POLL_S)
    process.kill()
    raise TimedOut("the simulator did not answer", hint=f"see {folder / LOG_FILE}")


def _environment(folder: Path) -> dict[str, str]:
    """The package must be found from any folder, also when it runs from a checkout."""
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    found = {"PYTHONPATH": os.pathsep.join(paths), SERVER_MARKER: str(folder)}
    return {**os.environ, **found}


def _wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + STOP_LIMIT_S
    while processes.is_alive(pid):
        _reap(pid)
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(POLL_S)


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:  # started by another process
        return


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One starter at a time. The lock file stands beside the folder, which may be removed."""
    folder = folder.resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(folder.name + LOCK_SUFFIX).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _ask(
    simulator: Simulator,
    method: str,
    path: str,
    body: Json | None = None,
    *,
    limit_s: float = REQUEST_LIMIT_S,
) -> Json:
    """Raises ApiError, OSError."""
    host = simulator.api_url.removeprefix("http://").removesuffix("/v2")
    connection = http.client.HTTPConnection(host, timeout=limit_s)
    headers = {"Authorization": f"Bearer {simulator.api_key.reveal()}"}
    try:
        connection.request(method, path, json.dumps(body) if body else None, headers)
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    document: Json = json.loads(content) if content else {}
    if response.status >= 400:
        reasons = "; ".join(document.get("errors", [])) or document.get("detail", "")
        raise ApiError(f"the simulator refused: {reasons}", status=response.status)
    return document
