"""The stand-in for Automatic1111's API as a process of its own, as the simulator starts it."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
REMOTE_SCRIPTS = REPOSITORY / "remote_scripts"
Json = dict[str, Any]


@dataclass(frozen=True)
class StandIn:
    """A running one. It ends with its stdin."""

    process: subprocess.Popen[bytes]
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def faults(self, **what: Any) -> None:
        """crash_at_step, nan, oom_above_pixels, step_s; none = nothing goes wrong any more."""
        self.call("POST", "/sim/faults", what)

    def api(self, method: str, path: str, body: Json | None = None) -> tuple[int, Any]:
        return self.call(method, f"/sdapi/v1{path}", body)

    def call(self, method: str, path: str, body: Json | None = None) -> tuple[int, Any]:
        """Status and JSON of any route."""
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, _read(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _read(error)


@contextmanager
def stand_in(
    *argv: str, python: Path | None = None, script: Path | None = None
) -> Iterator[StandIn]:
    """One on a free port; `script` is another main that serves it."""
    words = [str(script)] if script else ["-m", "sd.sim_webui"]
    process = subprocess.Popen(
        [str(python or sys.executable), "-B", *words, *argv],
        cwd=REMOTE_SCRIPTS,
        env={**os.environ, "PYTHONPATH": str(REMOTE_SCRIPTS)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout
        line = process.stdout.readline()
        assert line, "the stand-in did not start"
        try:
            yield StandIn(process, int(line))
        finally:
            process.kill()


def picture(width: int = 64, height: int = 64, format_name: str = "PNG", seed: int = 0) -> bytes:
    """A small picture that is not one colour."""
    from PIL import Image

    image = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    image.putpixel((0, 0), (seed % 256, 9, 9))
    buffer = io.BytesIO()
    image.save(buffer, format=format_name)
    return buffer.getvalue()


def as_text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _read(answer: Any) -> Any:
    raw = answer.read()
    return json.loads(raw) if raw else None
