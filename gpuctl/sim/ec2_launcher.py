"""Starts and finds the simulated AWS, a process beside the simulator. Loads no moto itself."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gpuctl.errors import GpuctlError, MissingDependency, TimedOut
from gpuctl.sim import launcher, processes
from gpuctl.sim.store import read_json

FILE = "ec2.json"
LOG_FILE = "ec2.log"
START_LIMIT_S = 30.0
POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class SimulatedAws:
    """`url` takes the place of every AWS endpoint."""

    url: str
    pid: int


def ensure(folder: Path, settings: Mapping[str, str]) -> SimulatedAws:
    """The simulated AWS of this simulator's folder, started when none answers.

    `settings`: boot_s, and in capitals what every instance has in its environment. Raises
    MissingDependency without moto, TimedOut, GpuctlError.
    """
    found = running(folder)
    if found is not None:
        return found
    if importlib.util.find_spec("moto") is None:
        raise MissingDependency(
            "the simulated EC2 needs moto, which is not installed",
            hint='pip install "gpuctl[sim]" (in a checkout: uv sync --extra sim)',
        )
    with launcher.locked(folder):
        return running(folder) or _start(folder.resolve(), settings)


def running(folder: Path) -> SimulatedAws | None:
    record = read_json(folder.resolve() / FILE)
    if record is None or not processes.is_alive(record["pid"]):
        return None
    try:
        socket.create_connection(("127.0.0.1", record["port"]), 5).close()
    except OSError:
        return None
    return SimulatedAws(f"http://127.0.0.1:{record['port']}", record["pid"])


def _start(folder: Path, settings: Mapping[str, str]) -> SimulatedAws:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    argv = [sys.executable, "-m", "gpuctl.sim.ec2_server", str(folder)]
    argv += [f"{name}={value}" for name, value in settings.items()]
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    # `sim stop` ends whatever carries the folder's marker, this process with its instances.
    own = {"PYTHONPATH": os.pathsep.join(paths), processes.FOLDER_MARKER: str(folder)}
    with (folder / LOG_FILE).open("ab") as log:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            env={**os.environ, **own},
            start_new_session=True,
        )
    return _answering(process, folder)


def _answering(process: subprocess.Popen[bytes], folder: Path) -> SimulatedAws:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        record = read_json(folder / FILE) or {}
        if record.get("pid") == process.pid and (found := running(folder)) is not None:
            process.returncode = 0  # it runs on by intent
            return found
        if process.poll() is not None:
            raise GpuctlError("the simulated EC2 did not start", hint=f"see {folder / LOG_FILE}")
        time.sleep(POLL_S)
    process.kill()
    raise TimedOut("the simulated EC2 did not answer", hint=f"see {folder / LOG_FILE}")
