"""One command on a machine as if it ran here: bytes in, bytes out, its own exit code."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence

from gpuctl.errors import ConnectionFailed, UsageError
from gpuctl.remote.base import LOST, Process, Shell

OnBytes = Callable[[bytes], object]
# Gives the next bytes of stdin, b"" at its end.
Read = Callable[[], bytes]

# sshd hangs up only on terminals: to end a command its process group has to be known. The shell
# stays, because paramiko does not tell which signal ended a command, and a shell does (128 + n).
_TELL_PID = 'echo "$$"; "$@"; exit "$?"'
_INTERRUPT = """\
kill -"$2" -- "-$1" 2>/dev/null && exit
ps -A -o pid=,ppid= | while read -r pid parent; do
  [ "$parent" != "$1" ] || kill -"$2" "$pid"
done
"""
_MOST_PID_BYTES = 32
STOP_LIMIT_S = 2.0


def run(
    shell: Shell,
    argv: Sequence[str],
    *,
    read_stdin: Read | None,
    on_stdout: OnBytes,
    on_stderr: OnBytes,
) -> int:
    """The exit code of `argv` (128 + n when a signal ended it). Ctrl-C ends it there as well.

    Raises ConnectionFailed when the connection went before the command did, UsageError.
    """
    if not argv or not argv[0]:
        raise UsageError("no command is given", hint="gpuctl exec -- nvidia-smi")
    process = shell.start(["sh", "-c", _TELL_PID, "sh", *argv], on_stderr=on_stderr)
    pid = ""
    try:
        _feed(process, read_stdin)
        pid, first = _pid(process)
        if first:
            on_stdout(first)
        while piece := process.read():
            on_stdout(piece)
        code = process.wait()
        process.stderr_text()  # its last bytes may come behind the exit
    except KeyboardInterrupt:
        _end(shell, process, pid)
        raise
    finally:
        process.close()
    if code == LOST:
        raise ConnectionFailed(
            "the connection was lost before the command ended", hint="it may still run there"
        )
    return code


def _feed(process: Process, read: Read | None) -> None:
    if read is None:
        process.close_stdin()
        return

    def pump() -> None:
        with contextlib.suppress(ConnectionFailed):  # the reader of stdout meets it too
            while piece := read():
                process.write(piece)
            process.close_stdin()

    threading.Thread(target=pump, name="stdin", daemon=True).start()


def _pid(process: Process) -> tuple[str, bytes]:
    """The first line, and what already came behind it."""
    received = b""
    while b"\n" not in received and len(received) < _MOST_PID_BYTES and (piece := process.read()):
        received += piece
    line, _, rest = received.partition(b"\n")
    return line.decode("ascii", "replace"), rest


def _end(shell: Shell, process: Process, pid: str) -> None:
    """As a terminal would: SIGINT to its group, SIGTERM to what ignores that."""
    if not pid.isdecimal():
        return
    for signal in ("INT", "TERM"):
        with contextlib.suppress(ConnectionFailed):
            shell.run(["sh", "-c", _INTERRUPT, "sh", pid, signal], timeout_s=STOP_LIMIT_S)
        with contextlib.suppress(TimeoutError):
            process.wait(STOP_LIMIT_S)
            return
