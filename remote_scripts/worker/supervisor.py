"""The daemon's side of the engine child: start it, give it a job, stop it, survive its death."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from worker.layout import SCRIPTS, Layout
from worker.lines import FINAL

Json = dict[str, Any]
STDERR_LINES = 20
STOP_GRACE_S = 5.0


class EngineDied(Exception):
    """The engine ended without a final event. The message carries its last words."""


class Engine:
    """One engine process: `python run.py engine WORKLOAD`, with the models in its memory."""

    def __init__(self, layout: Layout, workload: str, python: str) -> None:
        self.python = python
        self.has_finished_a_job = False
        self._secrets: set[str] = set()
        self._last_words: deque[str] = deque(maxlen=STDERR_LINES)
        events_out, events_in = os.pipe()
        self._events = os.fdopen(events_out, "rb")
        try:
            self._process = subprocess.Popen(
                [python, "-B", f"{SCRIPTS}/run.py", "engine", workload, str(events_in)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(events_in,),
                cwd=layout.root,
                env=_environment(layout),
                start_new_session=True,
            )
        finally:
            os.close(events_in)
        self._reader = threading.Thread(target=self._read_output, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def run(
        self, job: Json, directory: Path, secrets: Mapping[str, str], on_event: Callable[..., None]
    ) -> None:
        """Runs one job to its final event, given to `on_event(kind, fields)` like all others.

        Raises EngineDied.
        """
        self._secrets.update(value for value in secrets.values() if value)
        self._send({"op": "job", "job": job, "dir": str(directory), "secrets": dict(secrets)})
        for line in self._events:
            fields = json.loads(self._redacted(line.decode(errors="replace")))
            kind = fields.pop("event")
            self.has_finished_a_job |= kind == "done"
            on_event(kind, fields)
            if kind in FINAL:
                return
        raise EngineDied(self._describe_death())

    def cancel(self, job_id: str) -> None:
        """Asks for the job's end; the handler sees it at its next check."""
        self._send({"op": "cancel", "id": job_id})

    def stop(self) -> None:
        """Lets the engine unload, then ends it and everything it started."""
        stdin = self._process.stdin
        if self.is_alive and stdin:
            try:
                stdin.close()
                self._process.wait(STOP_GRACE_S)
            except (subprocess.TimeoutExpired, BrokenPipeError):
                pass
        self.kill()

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """Lets go of the pipes of an engine that has ended."""
        self._reader.join(1.0)
        self._events.close()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                with suppress(BrokenPipeError):
                    pipe.close()

    def _send(self, message: Json) -> None:
        stdin = self._process.stdin
        try:
            if stdin and not stdin.closed:
                stdin.write(json.dumps(message).encode() + b"\n")
                stdin.flush()
        except BrokenPipeError:
            pass  # it died; its event pipe says so

    def _read_output(self) -> None:
        stdout = self._process.stdout
        for line in stdout or ():
            text = self._redacted(line.decode(errors="replace")).rstrip()
            self._last_words.append(text)
            with suppress(OSError):  # a full disk must not stop the reading, and so the engine
                sys.stderr.write(f"{text}\n")
                sys.stderr.flush()

    def _redacted(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    def _describe_death(self) -> str:
        code = self._process.wait()
        self._reader.join(1.0)
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        hint = " (out of memory?)" if code == -signal.SIGKILL else ""
        return "\n".join([f"the engine ended with {how}{hint}", *self._last_words])


def _environment(layout: Layout) -> dict[str, str]:
    own = {"GPUCTL_WORKSPACE": layout.root, "HF_HOME": f"{layout.root}/.cache"}
    return {**os.environ, **own, "PYTHONUNBUFFERED": "1"}
