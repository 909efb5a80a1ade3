"""How work reaches a machine: the Shell (four verbs and a tunnel) and the Runner (jobs)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from gpuctl.models import Artifact, Event, Job, Json

# bytes so far, bytes in all
OnBytes = Callable[[int, int], None]
# a piece of a running command's stderr
OnStderr = Callable[[bytes], object]

LOST = -1
"""Exit code of a command whose connection went away: lost, never failed (feasibility.md §1)."""


@dataclass(frozen=True, slots=True)
class Completed:
    """What a finished command left. `exit_code` is LOST when the connection went first."""

    exit_code: int
    stdout: str
    stderr: str


class Process(Protocol):
    """A command that is running on the machine."""

    def write(self, data: bytes) -> None:
        """Raises ConnectionFailed. What a command that no longer reads is sent is dropped: its
        exit code tells."""
        ...

    def close_stdin(self) -> None: ...
    def read(self, limit: int = 1 << 20) -> bytes:
        """The next bytes of stdout, b"" at its end. Raises ConnectionFailed as `lines` does."""
        ...

    def lines(self) -> Iterator[str]:
        """Lines of stdout as they come. Raises ConnectionFailed when nothing at all, not even a
        keep-alive, came for the shell's silence limit, or when the link died before the exit."""
        ...

    def wait(self, timeout_s: float | None = None) -> int: ...
    def stderr_text(self) -> str: ...
    def close(self) -> None: ...


class Shell(Protocol):
    """One connection to a machine. Commands are argv lists, quoted in one place (quoting.py)."""

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 60.0) -> Completed:
        """Raises ConnectionFailed when there is no end within `timeout_s`."""
        ...

    def start(self, argv: Sequence[str], *, on_stderr: OnStderr | None = None) -> Process:
        """`on_stderr` gets every piece as it comes, on a thread of its own."""
        ...

    def prepare(self) -> None:
        """Opens ahead what the next command will need, without waiting; it saves one round trip
        on a long link and is never needed."""
        ...

    def put(
        self,
        source: Path,
        target: str,
        *,
        mode: int | None = None,
        on_bytes: OnBytes | None = None,
    ) -> None:
        """Writes beside `target`, then renames: nobody ever sees half a file. Makes its folder.
        Raises TransferFailed."""
        ...

    def get(
        self,
        source: str,
        target: Path,
        *,
        size: int | None = None,
        sha256: str | None = None,
        on_bytes: OnBytes | None = None,
    ) -> None:
        """Resumes a `target`.part, then renames. `size` in bytes and `sha256` are held to when
        given; a file that does not match is deleted. Raises TransferFailed, NotFound."""
        ...

    def forward(self, port: int, *, local_port: int = 0) -> AbstractContextManager[int]:
        """A port of 127.0.0.1 here that leads to `port` of the machine's own 127.0.0.1.

        `local_port` 0 = any that is free. Raises OSError when it is taken."""
        ...

    def listens(self, port: int) -> bool:
        """Whether something answers on `port` of the machine's own 127.0.0.1."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class Runner(Protocol):
    """How a job reaches a worker, whatever the transport."""

    def submit(self, job: Job) -> Iterator[Event]:
        """Puts the job (once per id) and follows it. Raises ConnectionFailed when the link dies;
        the job goes on, and `attach` replays what was missed."""
        ...

    def attach(self, workload: str, job_id: str, *, from_seq: int = 0) -> Iterator[Event]: ...
    def cancel(self, workload: str, job_id: str) -> bool: ...
    def status(self, workload: str) -> Json:
        """The resident worker's own account of itself. Raises ConnectionFailed, JobFailed."""
        ...

    def jobs(self, workload: str) -> list[Json]:
        """Every job the worker knows, oldest first: id, status, created, artifacts."""
        ...

    def fetch(
        self, artifact: Artifact, target: Path, *, on_bytes: OnBytes | None = None
    ) -> None: ...
