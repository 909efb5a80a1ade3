"""The resident worker: one per workload and machine, queues jobs and keeps their engine warm."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from worker.connection import connect
from worker.engine_runner import EngineRunner
from worker.layout import SCRIPTS, Layout, is_id, write_whole
from worker.spool import Job, unfinished

Json = dict[str, Any]
IDLE_S = 900.0
LOCK_LIMIT_S = 30.0
SEND_LIMIT_S = 30.0
FOLLOW_POLL_S = 60.0
REACHABLE_POLL_S = 5.0
OK: Json = {"ok": True}


def main(_verb: str, argv: list[str]) -> int:
    """`daemon WORKLOAD`: serves W/run/WORKLOAD.sock until idle, retired or stopped."""
    layout, workload = Layout.from_environment(), argv[0]
    layout.make_run()
    os.chdir(layout.run)
    lock = os.open(f"{workload}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    if not _lock_or_step_back(lock, layout, workload):
        return 0
    listener = _listen(workload)
    door = Path(layout.beside_socket(workload, "sock"))
    daemon = Daemon(layout, workload, partial(_is_same, door, door.stat().st_ino))
    write_whole(
        layout.beside_socket(workload, "json"),
        json.dumps({"pid": os.getpid(), "scripts": SCRIPTS, "started": time.time()}).encode(),
    )
    threading.Thread(target=_accept, args=(listener, daemon), daemon=True).start()
    daemon.run_until_idle()
    # Unlinked before the lock goes: a successor must never find, or lose, the other's socket.
    if daemon.is_reachable():
        door.unlink()
    listener.close()
    daemon.close()
    Path(f"{workload}.json").unlink(missing_ok=True)
    return 0


class Daemon:
    """The queue and its answers. One lock (`changed`) guards all of it."""

    def __init__(self, layout: Layout, workload: str, is_reachable: Callable[[], bool]) -> None:
        self.layout, self.workload, self.is_reachable = layout, workload, is_reachable
        self.idle_s = IDLE_S
        self.changed = threading.Condition()  # re-entrant
        self.runner = EngineRunner(layout, workload)
        self._queue: deque[Job] = deque(unfinished(layout, workload))
        self._jobs: dict[str, Job] = {job.id: job for job in self._queue}
        self._current: Job | None = None
        self._is_retiring = False
        self._idle_since = time.monotonic()
        self._links: set[threading.Thread] = set()

    def run_until_idle(self) -> None:
        """Runs the queue in order, until idle for `idle_s`, retired and empty, or stopped."""
        while job := self._next():
            self.runner.run(job)
            with self.changed:
                self._current = None
                self._jobs.pop(job.id, None)
                self._idle_since = time.monotonic()
            self._tell_positions()

    def close(self) -> None:
        """Ends the engine; waits until followers have their last line."""
        self.runner.close()
        deadline = time.monotonic() + SEND_LIMIT_S
        for thread in list(self._links):
            thread.join(max(0.0, deadline - time.monotonic()))

    def serve(self, link: socket.socket) -> None:
        """One connection: one question, one answer, and for a job its events."""
        self._links.add(threading.current_thread())
        try:
            with link, link.makefile("rb") as reader:
                link.settimeout(SEND_LIMIT_S)
                question = json.loads(reader.readline() or b"{}")
                answer, job = self.answer(question)
                link.sendall(json.dumps(answer).encode() + b"\n")
                if question.get("op") == "stop":
                    self.runner.wait_until_closed()
                if job:
                    _push(link, job, int(question.get("seq") or 0))
        except (BrokenPipeError, ConnectionResetError):
            pass  # the follower has gone; an attach replays
        except (OSError, ValueError, KeyError, AttributeError) as error:
            with suppress(OSError):  # the log's disk may be full
                sys.stderr.write(f"connection: {error!r}\n")
        finally:
            self._links.discard(threading.current_thread())

    def answer(self, question: Json) -> tuple[Json, Job | None]:
        """The answer to one question, and the job whose events are to follow it."""
        operation = question.get("op")
        if operation == "submit":
            return self._submit(question)
        if operation == "attach":
            job = self._find(question["id"])
            return (OK, job) if job else (_error("not_found", "no such job here"), None)
        if operation == "cancel":
            return {"cancelled": self._cancel(question["id"])}, None
        if operation == "stop":
            return self._stop(), None
        return self.status(), None

    def status(self) -> Json:
        with self.changed:
            idle_s = time.monotonic() - self._idle_since
            is_idle = not self._current and not self._queue
            return {
                "workload": self.workload,
                "daemon_pid": os.getpid(),
                **self.runner.status(),
                "current": self._current.id if self._current else None,
                "queue": [job.id for job in self._queue],
                "idle_s": self.idle_s,
                "idle_s_left": round(max(0.0, self.idle_s - idle_s), 1) if is_idle else None,
                "scripts": SCRIPTS,
                "retiring": self._is_retiring,
            }

    def _next(self) -> Job | None:
        with self.changed:
            while not self._queue:
                left = self._idle_since + self.idle_s - time.monotonic()
                # A workspace may be deleted under a worker, which would then hold the GPU unseen.
                if left <= 0 or self._is_retiring or not self.is_reachable():
                    self._is_retiring = True
                    return None
                self.changed.wait(min(left, REACHABLE_POLL_S))
            self._current = self._queue.popleft()
            return self._current

    def _submit(self, question: Json) -> tuple[Json, Job | None]:
        job = self._find(question["id"])
        if job and (job.is_over or question["id"] in self._jobs):
            job.secrets = job.secrets or question.get("secrets") or {}
            return OK, job
        with self.changed:
            if question.get("scripts") != SCRIPTS:
                self._is_retiring = True
                self.changed.notify_all()
            if self._is_retiring:
                return {"retiring": True}, None
            if question.get("idle_s") is not None:
                self.idle_s = float(question["idle_s"])
            return self._accept(question)

    def _accept(self, question: Json) -> tuple[Json, Job | None]:
        # Again under the lock: another submit of this id may have come, and even ended, by now.
        job = self._find(question["id"])
        if job:
            return OK, job
        job = Job(self.layout, self.workload, question["id"])
        job.secrets = dict(question.get("secrets") or {})
        position = len(self._queue) + (1 if self._current else 0)
        try:
            job.mark()
        except OSError as error:
            return _error("disk_full", f"the job could not be accepted: {error}"), None
        job.append("accepted", {"id": job.id, "workload": self.workload, "position": position})
        self._jobs[job.id] = job
        self._queue.append(job)
        self.changed.notify_all()
        return OK, job

    def _find(self, job_id: str) -> Job | None:
        """A job in memory, else one that is on disk and over."""
        with self.changed:
            known = self._jobs.get(job_id)
        if known or not is_id(job_id):
            return known
        stored = Job(self.layout, self.workload, job_id)
        if stored.lines:
            stored.end_for_reader()
        return stored if stored.is_over else None

    def _cancel(self, job_id: str) -> bool:
        with self.changed:
            job = self._jobs.get(job_id)
            if not job or job.is_over:
                return False
            job.is_cancelled = True
            if job is not self._current:
                self._queue.remove(job)
                del self._jobs[job_id]
                job.append_error("cancelled", "the job was cancelled before it began")
                return True
        self.runner.cancel(job)
        return True

    def _stop(self) -> Json:
        with self.changed:
            self._is_retiring = True
            current = self._current
            # Ended, not kept: a follower of an open job would start the worker again at once.
            for job in self._queue:
                job.append_error("cancelled", "the worker was stopped before the job began")
            self._queue.clear()
            self.changed.notify_all()
        if current:
            current.is_cancelled = True
            self.runner.kill()
        return {"stopped": True}

    def _tell_positions(self) -> None:
        with self.changed:
            for position, job in enumerate(self._queue):
                job.append("progress", {"stage": "queue", "done": position, "total": None})


def _push(link: socket.socket, job: Job, seq: int) -> None:
    while True:
        lines = job.wait_for_more(seq, FOLLOW_POLL_S)
        if lines:
            link.sendall(b"".join(lines))
            seq += len(lines)
        elif job.is_over:
            return


def _error(code: str, message: str) -> Json:
    return {"error": {"code": code, "message": message}}


def _lock_or_step_back(lock: int, layout: Layout, workload: str) -> bool:
    """Waits for a predecessor to go; steps back when another daemon serves already."""
    deadline = time.monotonic() + LOCK_LIMIT_S
    while time.monotonic() < deadline:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            link = connect(layout, workload)
            if link:
                link.close()
                return False
            time.sleep(0.01)
    return False


def _listen(workload: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    fresh = f"{workload}.sock.new"
    Path(fresh).unlink(missing_ok=True)
    listener.bind(fresh)
    Path(fresh).chmod(0o600)
    listener.listen(64)
    # Renamed when it answers, over a stale one too: no client ever meets a deaf socket.
    Path(fresh).replace(f"{workload}.sock")
    return listener


def _is_same(path: Path, inode: int) -> bool:
    try:
        return path.stat().st_ino == inode
    except FileNotFoundError:
        return False


def _accept(listener: socket.socket, daemon: Daemon) -> None:
    while True:
        try:
            link, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=daemon.serve, args=(link,), daemon=True).start()
