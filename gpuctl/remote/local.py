"""This computer as a machine: the Shell contract over subprocesses."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from gpuctl.closing import Closing
from gpuctl.remote import commands, streams, transfer
from gpuctl.remote.base import Completed, OnBytes, OnStderr

_SIGNAL_BASE = 128


class LocalProcess:
    """A child process. Local commands are never lost."""

    def __init__(self, argv: Sequence[str], on_stderr: OnStderr | None = None) -> None:
        pipe = subprocess.PIPE
        try:
            self._child = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)
        except (FileNotFoundError, PermissionError):
            # A shell at the other end of ssh would say it with 127 or 126; so does this one.
            argv = ["sh", "-c", 'exec "$0" "$@"', *argv]
            self._child = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        assert self._child.stderr is not None
        self._stdin, self._stdout, stderr = (
            self._child.stdin,
            self._child.stdout,
            self._child.stderr,
        )
        self._stderr = stderr
        self._tail = streams.Tail(lambda: _read(stderr, 1 << 16), on_stderr)

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        with contextlib.suppress(BrokenPipeError, ValueError):
            while view:
                view = view[self._stdin.write(view) or 0 :]

    def close_stdin(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._stdin.close()

    def read(self, limit: int = 1 << 20) -> bytes:
        return _read(self._stdout, limit)

    def lines(self) -> Iterator[str]:
        return streams.lines(self.read)

    def wait(self, timeout_s: float | None = None) -> int:
        try:
            code = self._child.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise TimeoutError from error
        return code if code >= 0 else _SIGNAL_BASE - code

    def stderr_text(self) -> str:
        return self._tail.text(wait_s=0.5)

    def close(self) -> None:
        """Ends the child when it still runs."""
        self.close_stdin()
        if self._child.poll() is None:
            self._child.kill()
        self._child.wait()
        self._tail.text(wait_s=0.5)
        self._stdout.close()
        self._stderr.close()


class LocalShell(Closing):
    """The same four verbs as SshShell, without a wire."""

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 60.0) -> Completed:
        return commands.run(self.start, argv, stdin, timeout_s)

    def start(self, argv: Sequence[str], *, on_stderr: OnStderr | None = None) -> LocalProcess:
        return LocalProcess(argv, on_stderr)

    def prepare(self) -> None:
        return

    def put(
        self,
        source: Path,
        target: str,
        *,
        mode: int | None = None,
        on_bytes: OnBytes | None = None,
    ) -> None:
        transfer.put(self.start, source, target, mode=mode, on_bytes=on_bytes)

    def get(
        self,
        source: str,
        target: Path,
        *,
        size: int | None = None,
        sha256: str | None = None,
        on_bytes: OnBytes | None = None,
    ) -> None:
        transfer.get(self.start, source, target, size=size, sha256=sha256, on_bytes=on_bytes)

    @contextlib.contextmanager
    def forward(self, port: int, *, local_port: int = 0) -> Iterator[int]:
        del local_port  # it is here already
        yield port

    def listens(self, port: int) -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
        except OSError:
            return False
        return True

    def close(self) -> None:
        return


def _read(stream: IO[bytes], limit: int) -> bytes:
    # close() in another thread (a time limit) ends a reader here as the end of the stream would.
    with contextlib.suppress(ValueError, OSError):
        return stream.read(limit) or b""
    return b""
