"""A command that runs at the other end of an SSH channel."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import paramiko
from paramiko.common import cMSG_CHANNEL_REQUEST
from paramiko.message import Message

from gpuctl.errors import ConnectionFailed
from gpuctl.remote import streams
from gpuctl.remote.base import LOST, OnStderr

# sshd tells which signal it was, paramiko keeps it to itself; 128 + n is what a shell would say.
_KILLED = 128
_PIECE_BYTES = 128 << 10


class SshProcess:
    """Runs `command` on `channel`. `lost` names the reason why the connection went away."""

    def __init__(
        self,
        channel: paramiko.Channel,
        command: str,
        lost: Callable[[], str],
        on_stderr: OnStderr | None = None,
    ) -> None:
        self._channel = channel
        self._lost = lost
        _request_exec(channel, command)
        self._tail = streams.Tail(lambda: channel.recv_stderr(1 << 16), on_stderr)

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                sent = self._channel.send(bytes(view[:_PIECE_BYTES]))
                if sent == 0:
                    break
                view = view[sent:]
        except (OSError, EOFError, paramiko.SSHException) as error:
            self._raise_if_lost(error)

    def close_stdin(self) -> None:
        try:
            self._channel.shutdown_write()
        except (OSError, EOFError, paramiko.SSHException) as error:
            self._raise_if_lost(error)

    def read(self, limit: int = 1 << 20) -> bytes:
        try:
            data = self._channel.recv(limit)
        except (OSError, EOFError, paramiko.SSHException) as error:
            self._raise_if_lost(error)
            return b""
        if not data:
            self._raise_if_lost(None)
        return data

    def lines(self) -> Iterator[str]:
        return streams.lines(self.read)

    def wait(self, timeout_s: float | None = None) -> int:
        """The exit code, LOST when the link went first. Raises TimeoutError after `timeout_s`."""
        if not self._channel.status_event.wait(timeout_s):
            raise TimeoutError
        code = self._channel.exit_status
        if code != -1:
            return code
        return LOST if self._is_lost() else _KILLED

    def stderr_text(self) -> str:
        return self._tail.text(wait_s=0.5)

    def close(self) -> None:
        """Lets go of the channel. The command gets a broken pipe or SIGHUP, as sshd does it."""
        self._channel.close()

    def _raise_if_lost(self, error: BaseException | None) -> None:
        if self._is_lost():
            raise ConnectionFailed(self._lost()) from error

    def _is_lost(self) -> bool:
        """A server that ends a command says so (EOF, then CLOSE); a dead link says nothing."""
        transport = self._channel.get_transport()
        if self._channel.exit_status != -1:
            return False
        if not self._channel.eof_received:
            return not self._is_refused(transport)
        return not transport.is_active()

    def _is_refused(self, transport: paramiko.Transport) -> bool:
        # A server that refuses the exec request closes the channel without EOF, the link lives on.
        transport.join(0.05)
        return transport.is_active()


def _request_exec(channel: paramiko.Channel, command: str) -> None:
    """Channel.exec_command without waiting for the answer, so that stdin goes out behind it.

    A refusal closes the channel, which the reader meets as its end.
    """
    message = Message()
    message.add_byte(cMSG_CHANNEL_REQUEST)
    message.add_int(channel.remote_chanid)
    message.add_string("exec")
    message.add_boolean(True)
    message.add_string(command)
    channel._event_pending()  # type: ignore[attr-defined]
    transport = channel.get_transport()
    transport._send_user_message(message)  # type: ignore[attr-defined]


class Sessions:
    """Opens session channels, one of them ahead of its use when asked to."""

    def __init__(self, transport: paramiko.Transport) -> None:
        self._transport = transport
        self._ahead: _Ahead | None = None
        self._lock = threading.Lock()

    def prepare(self) -> None:
        with self._lock:
            if self._ahead is None:
                self._ahead = _Ahead(self._transport)

    def forget(self) -> None:
        """Drops what was opened ahead: the server will never answer it."""
        with self._lock:
            self._ahead = None

    def take(self) -> paramiko.Channel:
        """Raises paramiko's exceptions when no channel can be had."""
        with self._lock:
            ahead, self._ahead = self._ahead, None
        channel = ahead.channel() if ahead is not None else None
        return channel if channel is not None else self._transport.open_session()


class _Ahead:
    def __init__(self, transport: paramiko.Transport) -> None:
        self._transport = transport
        self._channel: paramiko.Channel | None = None
        self._thread = threading.Thread(target=self._open, name="open-ahead", daemon=True)
        self._thread.start()

    def channel(self) -> paramiko.Channel | None:
        self._thread.join()
        return self._channel if self._channel is not None and not self._channel.closed else None

    def _open(self) -> None:
        try:
            self._channel = self._transport.open_session()
        except (OSError, EOFError, paramiko.SSHException):
            return  # The caller that needs a channel opens one and meets the reason.
