"""One command or shell on a pod, joined to its SSH channel."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paramiko

from gpuctl.sim.drops import Meter

CHUNK_BYTES = 1 << 18
CLOSE_POLL_S = 0.1
DRAIN_S = 0.05

# The child of a terminal session has to take the terminal as its own before it becomes the shell.
TAKE_TERMINAL = (
    "import fcntl,os,sys,termios;"
    "fcntl.ioctl(0,termios.TIOCSCTTY,0);"
    "os.execv(sys.argv[1],sys.argv[1:])"
)


@dataclass(frozen=True, slots=True)
class Terminal:
    name: str
    columns: int
    rows: int


@dataclass(frozen=True, slots=True)
class Launch:
    argv: Sequence[str]
    environment: Mapping[str, str]
    folder: Path


class Command:
    """A running process. Its whole group gets SIGHUP when the channel closes before it ended;
    what left the group with setsid lives on, as under a real sshd."""

    def __init__(
        self, channel: paramiko.Channel, launch: Launch, meter: Meter, log: Callable[[str], None]
    ) -> None:
        self._channel = channel
        self._launch = launch
        self._meter = meter
        self._log = log
        self._ended = threading.Event()
        self._is_cut = False
        self._terminal: int | None = None

    def run(self, terminal: Terminal | None) -> None:
        """Blocks until the process ended and all of its output was passed on."""
        try:
            if terminal is None:
                self._run_piped()
            else:
                self._run_in_terminal(terminal)
        except OSError as problem:  # the pod's folder is gone, no more processes, …
            with contextlib.suppress(OSError):
                self._channel.sendall_stderr(f"{problem}\n".encode())
            _send_exit(self._channel, 255)
            self._channel.close()

    def resize(self, columns: int, rows: int) -> None:
        if self._terminal is not None:
            _set_size(self._terminal, columns, rows)

    def _run_piped(self) -> None:
        process = subprocess.Popen(
            self._launch.argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(self._launch.environment),
            cwd=self._launch.folder,
            process_group=0,
            bufsize=0,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        pumps = [
            _thread(self._pump, process.stdout.fileno(), self._send_stdout),
            _thread(self._pump, process.stderr.fileno(), self._channel.sendall_stderr),
        ]
        feeder = _thread(self._feed, process.stdin.fileno(), process.stdin.close)
        watcher = _thread(self._hang_up_on_close, process)
        self._finish(process, pumps)
        watcher.join()
        feeder.join(DRAIN_S)
        process.stdout.close()
        process.stderr.close()

    def _run_in_terminal(self, terminal: Terminal) -> None:
        ours, theirs = pty.openpty()
        _set_size(theirs, terminal.columns, terminal.rows)
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", TAKE_TERMINAL, *self._launch.argv],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**self._launch.environment, "TERM": terminal.name},
            cwd=self._launch.folder,
            start_new_session=True,
        )
        os.close(theirs)
        self._terminal = ours
        pumps = [_thread(self._pump, ours, self._send_stdout)]
        feeder = _thread(self._feed, ours, lambda: None)
        watcher = _thread(self._hang_up_on_close, process)
        self._finish(process, pumps)
        watcher.join()
        self._terminal = None
        feeder.join(DRAIN_S)
        os.close(ours)

    def _finish(self, process: subprocess.Popen[bytes], pumps: list[threading.Thread]) -> None:
        code = process.wait()
        self._ended.set()
        for pump in pumps:
            pump.join(DRAIN_S)
        _send_exit(self._channel, code)
        for pump in pumps:  # a child in the background may still hold the pipe: sshd waits as well
            pump.join()
        self._channel.close()

    def _send_stdout(self, data: bytes) -> None:
        cut = self._meter.output(data)
        self._channel.sendall(data if cut is None else data[:cut])
        if cut is not None:
            self._cut()

    def _cut(self) -> None:
        self._is_cut = True
        self._log("connection dropped on purpose")
        self._channel.get_transport().close()

    def _receive(self) -> bytes:
        if self._is_cut:  # what had arrived before the cut is lost as well
            return b""
        try:
            data = self._channel.recv(CHUNK_BYTES)
        except OSError:
            return b""
        cut = self._meter.input(data)
        if cut is None:
            return data
        self._cut()
        return data[:cut]

    def _pump(self, source: int, send: Callable[[bytes], object]) -> None:
        readable = select.poll()
        readable.register(source, select.POLLIN | select.POLLHUP)
        while not self._channel.closed:
            if not readable.poll(CLOSE_POLL_S * 1000):
                continue
            try:
                data = os.read(source, CHUNK_BYTES)
                if not data:
                    return
                send(data)
            except OSError:  # a terminal whose last process ended (EIO), or a closed channel
                return

    def _feed(self, target: int, close: Callable[[], object]) -> None:
        while data := self._receive():
            view = memoryview(data)
            try:
                while view:
                    view = view[os.write(target, view) :]
            except OSError:  # the process closed its stdin, or ended
                break
        close()

    def _hang_up_on_close(self, process: subprocess.Popen[bytes]) -> None:
        while not self._ended.wait(CLOSE_POLL_S):
            if self._channel.closed:
                _signal_group(process.pid)
                return


def _signal_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGHUP)
    except ProcessLookupError:
        return


def _send_exit(channel: paramiko.Channel, code: int) -> None:
    try:
        if code >= 0:
            channel.send_exit_status(code)
        else:
            _send_exit_signal(channel, -code)
    except (OSError, EOFError, paramiko.SSHException):  # the connection went first
        return


def _send_exit_signal(channel: paramiko.Channel, number: int) -> None:
    """RFC 4254 §6.10. paramiko's server has no call for it."""
    message = paramiko.Message()
    message.add_byte(bytes([paramiko.common.MSG_CHANNEL_REQUEST]))
    message.add_int(channel.remote_chanid)
    message.add_string("exit-signal")
    message.add_boolean(False)
    message.add_string(signal.Signals(number).name.removeprefix("SIG"))
    message.add_boolean(False)
    message.add_string("")
    message.add_string("")
    transport: Any = channel.get_transport()  # private call; the public ones cannot say this
    transport._send_user_message(message)


def _set_size(terminal: int, columns: int, rows: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


def _thread(target: Callable[..., None], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=target, args=arguments, daemon=True)
    thread.start()
    return thread
