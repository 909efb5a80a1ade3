"""A GPU machine in a folder: shipped scripts with a toy workload, a workspace, its verbs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
REMOTE_SCRIPTS = HERE.parents[2] / "remote_scripts"
LIMIT_S = 20.0

Json = dict[str, Any]


def until(claim: Callable[[], Any], what: str = "") -> Any:
    """Waits for `claim()` to hold; its value."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        value = claim()
        if value:
            return value
        time.sleep(0.005)
    raise AssertionError(f"never came true: {what or claim}")


def ship(target: Path) -> Path:
    """Puts the scripts into a folder, as gpuctl does, with the toy beside them."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REMOTE_SCRIPTS / "worker", target / "worker", ignore=ignore)
    shutil.copy(REMOTE_SCRIPTS / "run.py", target / "run.py")
    (target / "toy").mkdir()
    shutil.copy(HERE / "toy_handler.py", target / "toy/handler.py")
    return target


class Worker:
    """One machine's worker as a client sees it: verbs in, lines out."""

    def __init__(self, scripts: Path, workspace: Path) -> None:
        self.scripts, self.workspace = scripts, workspace
        self.env = {**os.environ, "GPUCTL_WORKSPACE": str(workspace)}

    def start(self, verb: str, *args: str, request: object = None) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-B", str(self.scripts / "run.py"), verb, "toy", *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self.env,
        )
        assert process.stdin
        if request is not None:
            text = request if isinstance(request, str) else json.dumps(request)
            process.stdin.write(text + "\n")
            process.stdin.flush()
        return process

    def submit(self, job_id: str, *args: str, **given: Any) -> subprocess.Popen[str]:
        return self.start("submit", *args, request={"id": job_id, "input": given})

    def run(self, job_id: str, *args: str, **given: Any) -> list[Json]:
        return events(self.submit(job_id, *args, **given))

    def ask(self, verb: str, *args: str) -> Any:
        process = self.start(verb, *args)
        return json.loads(process.communicate(timeout=LIMIT_S)[0])

    def status(self) -> Json:
        status: Json = self.ask("status")
        return status

    def stored(self, job_id: str) -> list[Json]:
        path = self.workspace / "jobs" / job_id / "events.ndjson"
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text().splitlines()]

    def until_stored(self, job_id: str, kind: str, **fields: Any) -> Json:
        """Waits for an event with these fields in the job's file."""
        wanted = {"event": kind, **fields}.items()
        found: Json = until(
            lambda: next((event for event in self.stored(job_id) if wanted <= event.items()), None),
            f"{job_id}: {kind} {fields}",
        )
        return found

    def runs(self) -> list[str]:
        """The ids that a handler was called with, in order."""
        path = self.workspace / "ran.txt"
        return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []

    def release(self, name: str) -> None:
        (self.workspace / name).touch()

    def processes(self) -> list[int]:
        """Every live process that works for this workspace."""
        mark = f"GPUCTL_WORKSPACE={self.workspace}\0".encode()
        return [
            int(path.parent.name)
            for path in Path("/proc").glob("[0-9]*/environ")
            if _has(path, mark)
        ]


def _has(path: Path, mark: bytes) -> bool:
    try:
        return mark in path.read_bytes() + b"\0"
    except OSError:
        return False


def events(process: subprocess.Popen[str]) -> list[Json]:
    """All events of a follower that ends by itself; they are gapless. The heartbeat is left out."""
    try:
        out, _ = process.communicate(timeout=LIMIT_S)
    finally:
        process.kill()
    found = [json.loads(line) for line in out.splitlines() if line]
    assert [event["seq"] for event in found] == list(
        range(found[0]["seq"], found[0]["seq"] + len(found))
    )
    assert process.returncode == {"done": 0, "error": 1}[found[-1]["event"]]
    return found


def first_line(process: subprocess.Popen[str]) -> Json:
    assert process.stdout
    line: Json = json.loads(process.stdout.readline())
    return line


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
