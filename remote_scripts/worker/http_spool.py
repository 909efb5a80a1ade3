"""Jobs as the HTTP front sees them: handed to the resident daemon, read back from their folders.

The daemon, not the front, owns the queue and the engine: a front that dies loses nothing, and a job
that came over ssh stands in the same queue.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from worker.connection import ask, connect, connect_or_start
from worker.inspection import jobs
from worker.layout import SCRIPTS, Layout, is_id, write_whole
from worker.lines import is_final, read_lines
from worker.report import Failure

Json = dict[str, Any]
RETIRING_POLL_S = 0.05
RECONNECTS = 4
READ_BYTES = 1 << 16


class Spool:
    """One workload's jobs in one workspace."""

    def __init__(self, layout: Layout, workload: str, idle_s: float = 900.0) -> None:
        self.layout, self.workload, self._idle_s = layout, workload, idle_s
        layout.make_run()

    def wake(self) -> None:
        """Takes up what an earlier daemon left. Raises DaemonFailed."""
        pending = Path(self.layout.pending(self.workload))
        if pending.is_dir() and any(pending.iterdir()):
            connect_or_start(self.layout, self.workload).close()

    def submit(self, job_id: str, given: Json) -> None:
        """Once per id: the same id again changes nothing. Raises Failure, DaemonFailed, OSError."""
        if not is_id(job_id):
            raise Failure("bad_input", f"not a job id: {job_id!r}", "letters, digits, - and _")
        path = Path(self.layout.request(job_id))
        if path.exists():
            if json.loads(path.read_bytes()).get("workload") != self.workload:
                raise Failure("bad_input", f"this id is another workload's: {job_id}")
            if is_final(read_lines(self.layout.events(job_id))):
                return
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            record = {"id": job_id, "workload": self.workload, "input": given, "python": None}
            write_whole(str(path), json.dumps(record).encode())
        self._asked({"op": "submit", "id": job_id, "secrets": _secrets(), "idle_s": self._idle_s})

    def cancel(self, job_id: str) -> bool:
        """False when it was over. Raises DaemonFailed."""
        return bool(self._asked({"op": "cancel", "id": job_id}).get("cancelled"))

    def exists(self, job_id: str) -> bool:
        """Whether this is a job of the workload."""
        if not is_id(job_id):
            return False
        try:
            request = json.loads(Path(self.layout.request(job_id)).read_bytes())
        except (OSError, ValueError):
            return False
        return bool(request.get("workload") == self.workload)

    def events(self, job_id: str) -> list[Json]:
        return [json.loads(line) for line in read_lines(self.layout.events(job_id))]

    def all(self) -> list[Json]:
        """Every job, oldest first: id, status, created, artifacts."""
        return jobs(self.layout, self.workload)

    def daemon(self) -> Json:
        """The daemon's own account of itself; {} when none runs, which is well: a job starts it."""
        link = connect(self.layout, self.workload)
        if link is None:
            return {}
        with link:
            return ask(link, {"op": "status"})[0]

    async def lines(self, job_id: str, seq: int) -> AsyncIterator[bytes | None]:
        """The event lines after `seq`, to the final one; None whenever nothing came for 10 s.

        Raises DaemonFailed.
        """
        for _ in range(RECONNECTS):
            known = read_lines(self.layout.events(job_id))
            if is_final(known):
                for line in known[seq:]:
                    yield line
                return
            link, rest = await asyncio.to_thread(self._attached, job_id, seq)
            async for pushed in _pushed(link, rest):
                yield pushed
                if pushed is None:
                    continue
                seq += 1
                if is_final([pushed]):
                    return

    def _scripts(self) -> str:
        """Those that the daemon runs from, whoever started it: with others it would first finish
        its whole queue and retire, and a request would wait for that."""
        path = Path(self.layout.beside_socket(self.workload, "json"))
        try:
            return str(json.loads(path.read_bytes())["scripts"])
        except (OSError, ValueError, KeyError):
            return SCRIPTS

    def _attached(self, job_id: str, seq: int) -> tuple[Any, bytes]:
        while True:
            link = connect_or_start(self.layout, self.workload)
            question = {"op": "attach", "id": job_id, "seq": seq, "scripts": self._scripts()}
            answer, rest = ask(link, question)
            if answer.get("ok") or answer.get("error"):
                return link, rest
            link.close()
            time.sleep(RETIRING_POLL_S)

    def _asked(self, question: Json) -> Json:
        """The answer of a daemon that stays; one that retires is waited out."""
        while True:
            with connect_or_start(self.layout, self.workload) as link:
                answer, _ = ask(link, {**question, "scripts": self._scripts(), "seq": 0})
            if "error" in answer:
                raise Failure(answer["error"]["code"], answer["error"]["message"])
            if answer and not answer.get("retiring"):
                return answer
            time.sleep(RETIRING_POLL_S)


async def _pushed(link: Any, buffer: bytes) -> AsyncIterator[bytes | None]:
    """Complete lines as the daemon sends them, until it goes away."""
    loop = asyncio.get_running_loop()
    link.setblocking(False)
    with link:
        while True:
            *lines, buffer = buffer.split(b"\n")
            for line in lines:
                yield line + b"\n"
            try:
                block = await asyncio.wait_for(loop.sock_recv(link, READ_BYTES), 10.0)
            except (TimeoutError, asyncio.TimeoutError):
                yield None
                continue
            except ConnectionResetError:
                return
            if not block:
                return
            buffer += block


def _secrets() -> dict[str, str]:
    """What the front was started with, for the engine that downloads."""
    return {name: os.environ[name] for name in ("HF_TOKEN",) if os.environ.get(name)}
