"""The stand-in for ComfyUI as a process of its own, and what a test does to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Json = dict[str, Any]
REMOTE_SCRIPTS = Path(__file__).resolve().parents[2] / "remote_scripts"


class ComfyServer:
    """One server on a port that stays the same when it is started again."""

    def __init__(self, folder: Path, mode: str, *options: str) -> None:
        self.folder, self.mode, self._options = folder, mode, options
        self.port = 0
        self._process: subprocess.Popen[str] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self, *, step_s: float = 0.0) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-B", "-m", "video.sim_comfyui"]
        where = ["--folder", str(self.folder), "--port", str(self.port), "--mode", self.mode]
        self._process = subprocess.Popen(
            [*command, *where, *self._options],
            stdout=subprocess.PIPE,
            text=True,
            cwd=REMOTE_SCRIPTS,
            env={**os.environ, "GPUCTL_SIM_STEP_S": str(step_s)},
        )
        assert self._process.stdout is not None
        self.port = int(json.loads(self._process.stdout.readline())["port"])

    def kill(self) -> None:
        """As an out-of-memory killer does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON (or text) of one request."""
        data = body if isinstance(body, bytes) else None
        if data is None and body is not None:
            data = json.dumps(body).encode()
        request = urllib.request.Request(f"http://{self.address}{path}", data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                status, content = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, content = error.code, error.read()
        try:
            return status, json.loads(content or b"null")
        except ValueError:
            return status, content.decode(errors="replace")

    def fault(self, **asked: Any) -> None:
        self.call("POST", "/sim/fault", asked)

    def running(self) -> list[str]:
        return [row[1] for row in self.call("GET", "/queue")[1]["queue_running"]]


@contextmanager
def comfyui(folder: Path, mode: str, *options: str) -> Iterator[ComfyServer]:
    """A server for the block; nothing of it is left behind."""
    server = ComfyServer(folder, mode, *options)
    server.start()
    try:
        yield server
    finally:
        server.kill()
