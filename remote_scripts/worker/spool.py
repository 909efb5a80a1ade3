"""Jobs as the daemon holds them: the request, the event file it alone appends to, the marker."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

from worker.layout import Layout, is_id, write_all
from worker.lines import FINAL, error_fields, event_line, is_final, read_lines

INTERRUPTED = "the worker ended in the middle of this job; what it had made is kept"
NO_END = "the record of this job has no end: its machine stopped, or its disk was full"
RUN_AGAIN = "submit it again under a new id"


class Job:
    """One accepted job. `lines` are its events so far; `changed` is notified with each."""

    def __init__(self, layout: Layout, workload: str, job_id: str) -> None:
        self.id = job_id
        self.changed = threading.Condition()
        self.is_cancelled = False
        self.secrets: dict[str, str] = {}
        self.directory = Path(layout.job(job_id))
        self._events = Path(layout.events(job_id))
        self._marker = Path(layout.pending(workload)) / job_id
        self.lines = read_lines(layout.events(job_id))
        self.is_over = is_final(self.lines)
        self._is_memory_only = False

    @property
    def has_started(self) -> bool:
        """Whether an engine was given it. Queueing and bootstrap come before that."""
        return self._marker.exists() and self._marker.stat().st_size > 0

    def mark_started(self) -> None:
        """From here on a restart of the daemon does not run it again. Raises OSError."""
        self._marker.write_text("started")

    def request(self) -> dict[str, Any]:
        """What `submit` stored. Raises OSError, ValueError."""
        request: dict[str, Any] = json.loads((self.directory / "request.json").read_bytes())
        return request

    def mark(self) -> None:
        """Makes a restart find the job. Raises OSError."""
        self._marker.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._marker.touch()
        _truncate_torn_line(self._events, self.lines)

    def append(self, kind: str, fields: dict[str, Any]) -> None:
        """Adds an event, unless the job is over. On a full disk followers still get it."""
        with self.changed:
            if self.is_over:
                return
            line = event_line(len(self.lines) + 1, kind, fields)
            self._store(line)
            self.lines.append(line)
            self.is_over = kind in FINAL
            self.changed.notify_all()
        if self.is_over:
            self._marker.unlink(missing_ok=True)

    def append_error(self, code: str, message: str, remedy: str = "", trace: str = "") -> None:
        self.append("error", error_fields(code, message, remedy, trace))

    def end_for_reader(self) -> None:
        """Ends a job that nobody runs and whose record has no end. Changes nothing on disk."""
        self._is_memory_only = True
        self.append_error("worker_died", NO_END, RUN_AGAIN)

    def wait_for_more(self, count: int, timeout_s: float) -> list[bytes]:
        """The lines after the first `count`; waits for one unless the job is over."""
        with self.changed:
            if len(self.lines) <= count and not self.is_over:
                self.changed.wait(timeout_s)
            return self.lines[count:]

    def _store(self, line: bytes) -> None:
        if self._is_memory_only:
            return
        size = self._events.stat().st_size if self._events.exists() else 0
        file = os.open(self._events, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            write_all(file, line)
        except OSError:
            # A gap in the file would be worse than its end: from here on memory alone has them.
            self._is_memory_only = True
            os.ftruncate(file, size)
        finally:
            os.close(file)


def unfinished(layout: Layout, workload: str) -> list[Job]:
    """The jobs that the previous daemon left, oldest first.

    One that had started gets its final event here: it may have half-written anything, and is
    never run twice. The others are to be queued again.
    """
    folder = Path(layout.pending(workload))
    if not folder.is_dir():
        return []
    waiting = []
    for marker in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns):
        if not is_id(marker.name) or not Path(layout.job(marker.name)).is_dir():
            marker.unlink()
            continue
        job = Job(layout, workload, marker.name)
        _truncate_torn_line(job.directory / "events.ndjson", job.lines)
        if job.is_over or not job.lines:
            marker.unlink()
        elif job.has_started:
            job.append_error("worker_died", INTERRUPTED, RUN_AGAIN)
        else:
            waiting.append(job)
    return waiting


def summary(layout: Layout, job_id: str) -> dict[str, Any] | None:
    """One row of `jobs`, None when the folder holds no readable job."""
    path = Path(layout.request(job_id))
    try:
        request, created = json.loads(path.read_bytes()), path.stat().st_mtime
    except (OSError, ValueError):
        return None
    events = [json.loads(line) for line in read_lines(layout.events(job_id))]
    return {
        "id": job_id,
        "workload": request.get("workload"),
        "status": _status(events),
        "created": round(created, 3),
        "age_s": round(time.time() - created, 1),
        "artifacts": [event for event in events if event["event"] == "artifact"],
    }


def _status(events: list[dict[str, Any]]) -> str:
    last = events[-1] if events else {"event": ""}
    if last["event"] == "done":
        return "done"
    if last["event"] == "error":
        return "cancelled" if last.get("code") == "cancelled" else "failed"
    waiting = all(event["event"] == "accepted" or _is_queue(event) for event in events)
    return "queued" if waiting else "running"


def _is_queue(event: dict[str, Any]) -> bool:
    return event.get("event") == "progress" and event.get("stage") == "queue"


def _truncate_torn_line(path: Path, lines: list[bytes]) -> None:
    if path.exists() and path.stat().st_size != sum(map(len, lines)):
        os.truncate(path, sum(map(len, lines)))
