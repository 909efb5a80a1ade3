"""Follows one job on stdout: every event line once, in order, whatever happens to the daemon."""

from __future__ import annotations

import os
import socket
import time

from worker.connection import DaemonFailed, ask, connect_or_start
from worker.layout import SCRIPTS, Layout, write_all
from worker.lines import error_fields, event_line, is_final, kind_of, read_lines

TYPE_CHECKING = False
if TYPE_CHECKING:  # typing costs 3 ms
    from typing import Any

HEARTBEAT_S = 10.0
RETIRING_POLL_S = 0.05
RECONNECTS = 4
STDOUT = 1
EXIT_CODES = {"done": 0, "error": 1}


class Follower:
    """Prints a job's lines after `seq`. `exit_code` is set by the final one."""

    def __init__(self, layout: Layout, workload: str, job_id: str, seq: int = 0) -> None:
        self.layout, self.workload, self.job_id, self.seq = layout, workload, job_id, seq
        self.exit_code: int | None = None
        self._spoke_at = time.monotonic()

    def replay(self) -> bool:
        """Prints a finished job from its file. False when it is not finished, or unknown."""
        lines = read_lines(self.layout.events(self.job_id))
        if not is_final(lines):
            return False
        for line in lines[self.seq :]:
            self._print(line)
        self.exit_code = EXIT_CODES[kind_of(lines[-1])]
        return True

    def follow(self, message: dict[str, Any]) -> int:
        """Asks the daemon with `message` and prints until the end; the exit code.

        A daemon that dies is started again: it gives an interrupted job its final event and takes
        up those that had not begun.
        """
        for _ in range(RECONNECTS):
            try:
                self._ask_and_print(message)
            except DaemonFailed as failure:
                return self.fail("worker_died", str(failure))
            if self.exit_code is not None:
                return self.exit_code
        return self.fail("worker_died", "the worker keeps dying", "see its log: run.py status")

    def fail(self, code: str, message: str, remedy: str = "") -> int:
        """Prints an error that is in no file; the exit code."""
        self._write(event_line(self.seq + 1, "error", error_fields(code, message, remedy)))
        return 3 if code == "not_found" else 1

    def _ask_and_print(self, message: dict[str, Any]) -> None:
        link, answer, rest = self._accepted(message)
        with link:
            if "error" in answer:
                self.exit_code = self.fail(**answer["error"])
            elif answer:
                self._print_all(link, rest)

    def _accepted(self, message: dict[str, Any]) -> tuple[socket.socket, dict[str, Any], bytes]:
        """The first answer that is not "I am retiring": then its successor is waited for."""
        while True:
            link = connect_or_start(self.layout, self.workload)
            answer, rest = ask(link, {**message, "scripts": SCRIPTS, "seq": self.seq})
            if not answer.get("retiring"):
                return link, answer, rest
            link.close()
            time.sleep(RETIRING_POLL_S)
            self._keep_alive()

    def _print_all(self, link: socket.socket, buffer: bytes) -> None:
        link.settimeout(HEARTBEAT_S)
        while self.exit_code is None:
            *lines, buffer = buffer.split(b"\n")
            for line in lines:
                self._print(line + b"\n")
            try:
                block = link.recv(1 << 16)
            except TimeoutError:
                self._keep_alive()
                continue
            except ConnectionResetError:
                return
            if not block:
                return
            buffer += block

    def _print(self, line: bytes) -> None:
        self._write(line)
        self.seq += 1
        # Parsing every line would cost more than sending it; only a final one can look like this.
        if b'"event":"done"' in line or b'"event":"error"' in line:
            self.exit_code = EXIT_CODES.get(kind_of(line))

    def _keep_alive(self) -> None:
        if time.monotonic() - self._spoke_at >= HEARTBEAT_S:
            self._write(b"\n")

    def _write(self, data: bytes) -> None:
        self._spoke_at = time.monotonic()
        try:
            write_all(STDOUT, data)
        except BrokenPipeError:
            # Nobody reads any more. The job goes on; a later attach replays it.
            os._exit(0)
