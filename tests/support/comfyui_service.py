"""The video service as a process of its own, on its own port, in a workspace that can vanish."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.comfyui_server import REMOTE_SCRIPTS

Json = dict[str, Any]
LIMIT_S = 25.0


class Service:
    """`environment` is added to a bare one."""

    def __init__(self, workspace: Path, **environment: str) -> None:
        self.workspace, self._environment = workspace, environment
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self.token: str | None = environment.get("SERVICE_TOKEN")

    def start(self, *options: str) -> None:
        environment = {
            **{"PATH": os.environ["PATH"], "HOME": str(self.workspace)},
            **{"GPUCTL_WORKSPACE": str(self.workspace), "GPUCTL_ENGINE": "sim"},
            **self._environment,
        }
        command = [sys.executable, "-B", str(REMOTE_SCRIPTS / "run.py"), "service", "video"]
        self._process = subprocess.Popen(
            [*command, "--port", str(self.port), *options],
            env=environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stderr is not None
        said = self._process.stderr.readline()
        assert b"video service on" in said, said + self._process.stderr.read()

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            assert self._process.stderr is not None
            self._process.stderr.close()
            self._process = None

    def call(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, Any, dict[str, str]]:
        """Status, JSON or bytes, headers (lower case)."""
        data = body if isinstance(body, bytes) else None
        if data is None and body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        if self.token:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"http://127.0.0.1:{self.port}{path}"
        request = urllib.request.Request(url, data, named, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                status, content, found = answer.status, answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            status, content, found = error.code, error.read(), error.headers
        lower = {name.lower(): value for name, value in found.items()}
        if lower.get("content-type", "").startswith("application/json"):
            return status, json.loads(content or b"null"), lower
        return status, content, lower

    def get(self, path: str) -> Any:
        return self.call("GET", path)[1]

    def events(self, job_id: str, seq: int = 0) -> Iterator[Json]:
        """Server-sent events to the last one."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        url = f"http://127.0.0.1:{self.port}/jobs/{job_id}/events?from={seq}"
        with urllib.request.urlopen(
            urllib.request.Request(url, None, headers), timeout=30
        ) as lines:
            for line in lines:
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])

    def until(self, check: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + LIMIT_S
        while not (found := check()):
            assert time.monotonic() < deadline, "it did not come to that"
            time.sleep(0.03)
        return found


@contextmanager
def service(workspace: Path, **environment: str) -> Iterator[Service]:
    """Runs for the block. What it started ends too: its workspace's name is in its environment."""
    found = Service(workspace, **environment)
    found.start()
    try:
        yield found
    finally:
        found.kill()
        end_all(workspace)


def end_all(workspace: Path) -> None:
    """Daemon, engine and stand-in of this workspace, each by its own process id."""
    needle = f"GPUCTL_WORKSPACE={workspace}".encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if needle in (entry / "environ").read_bytes().split(b"\0"):
                os.kill(int(entry.name), signal.SIGKILL)
        except (OSError, ProcessLookupError):
            continue
