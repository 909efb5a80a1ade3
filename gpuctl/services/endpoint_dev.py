"""A workload's handler on this computer, under RunPod's own worker SDK and its little server."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gpuctl import resources
from gpuctl.clients import fetching
from gpuctl.errors import GpuctlError, JobFailed, TimedOut, UsageError
from gpuctl.models import Json

START_LIMIT_S, POLL_S = 60.0, 0.05
JOB_LIMIT_S = 3600.0
HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Trial:
    """One handler at one port. `is_sim`: its model is stood in for; `is_quiet`: its words go
    nowhere, because stdout is somebody's to parse."""

    workload: str
    port: int
    workspace: Path
    is_sim: bool
    is_quiet: bool

    def argv(self) -> list[str]:
        """Raises UsageError for a workload without a handler."""
        scripts = resources.bundled("remote_scripts")
        if not (scripts / self.workload / "handler.py").is_file():
            raise UsageError(f"{self.workload} has no handler", hint="gpuctl endpoint dev flux")
        run = [sys.executable, "-B", str(scripts / "run.py"), "serverless", self.workload]
        return [*run, "--rp_serve_api", "--rp_api_host", HOST, "--rp_api_port", str(self.port)]

    def environment(self) -> dict[str, str]:
        engine = {"GPUCTL_ENGINE": "sim"} if self.is_sim else {}
        own = {"GPUCTL_WORKSPACE": str(self.workspace), "GPUCTL_WORKLOAD": self.workload}
        return {**os.environ, **own, **engine}


def serve(trial: Trial) -> int:
    """Until it ends, or Ctrl-C; its exit code."""
    with _started(trial) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            return 0


def run_once(trial: Trial, file: Path) -> Json:
    """Runs one job and gives its output. Raises JobFailed with the handler's own words."""
    given = _read(file)
    with _started(trial) as process:
        _await_port(process, trial.port)
        reply = fetching.fetch(
            "POST",
            f"http://{HOST}:{trial.port}/runsync",
            timeout_s=JOB_LIMIT_S,
            body={"input": given},
        )
    answer = reply.document()
    if not reply.is_success or answer.get("status") != "COMPLETED":
        raise JobFailed(f"the handler failed: {answer.get('error') or reply.said()}")
    return answer


def shown(answer: Json) -> str:
    """The output as text, without the bytes of its artifacts."""
    output = answer.get("output")
    if isinstance(output, dict):
        artifacts = [_bare(each) for each in output.get("artifacts", ())]
        output = {**output, "artifacts": artifacts}
    return json.dumps(output, indent=2, ensure_ascii=False)


def _bare(artifact: Json) -> Json:
    return {name: value for name, value in artifact.items() if name != "data"}


def _read(file: Path) -> Json:
    try:
        given = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} cannot be read as JSON: {error}") from error
    if not isinstance(given, dict):
        raise UsageError(f"{file} holds no JSON object")
    inner = given.get("input")
    return inner if isinstance(inner, dict) else given


@contextmanager
def _started(trial: Trial) -> Iterator[subprocess.Popen[bytes]]:
    """In a group of its own, which is ended whole: the SDK starts children."""
    trial.workspace.mkdir(parents=True, exist_ok=True, mode=0o700)
    quiet = subprocess.DEVNULL if trial.is_quiet else sys.stderr
    process = subprocess.Popen(
        trial.argv(),
        env=trial.environment(),
        stdin=subprocess.DEVNULL,
        stdout=quiet,
        stderr=quiet,
        process_group=0,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _await_port(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise GpuctlError(
                "the worker SDK ended at its start",
                hint=f"is port {port} taken? Another: --port N",
            )
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), 1.0):
            return
        time.sleep(POLL_S)
    raise TimedOut("the worker SDK did not answer")
