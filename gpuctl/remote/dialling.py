"""Opens the connection that ssh runs over: TCP in a thread, or a program that the user names."""

from __future__ import annotations

import errno
import socket
import subprocess
import threading

from gpuctl.errors import ConnectionFailed
from gpuctl.models import Address

_PROXY_END_S = 0.5


class Dial:
    """One attempt to reach `address`, begun at once: it and the server's banner cost no time."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._outcome: socket.socket | OSError | None = None
        self._is_closed = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._connect, name="dial", daemon=True)
        self._thread.start()

    def socket(self) -> socket.socket:
        """The connected socket, with TCP_NODELAY. Raises ConnectionFailed."""
        self._thread.join()
        outcome = self._outcome
        if isinstance(outcome, socket.socket):
            return outcome
        assert outcome is not None
        raise unreachable(self._address, outcome, self._timeout_s) from outcome

    def close(self) -> None:
        """Closes what was or will be opened, without waiting for it."""
        with self._lock:
            self._is_closed = True
            if isinstance(self._outcome, socket.socket):
                self._outcome.close()

    def _connect(self) -> None:
        try:
            address = (self._address.host, self._address.port)
            sock = socket.create_connection(address, self._timeout_s)
            # Without it the first answer after a command waits 43 ms for Nagle (performance.md §3).
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            self._outcome = error
            return
        with self._lock:
            self._outcome = sock
            if self._is_closed:
                sock.close()


class Proxy:
    """A ProxyCommand as OpenSSH runs one: its stdin and stdout are one socket."""

    def __init__(self, command: str) -> None:
        self._ours, theirs = socket.socketpair()
        with theirs:
            argv = ["sh", "-c", f"exec {command}"]
            self._child = subprocess.Popen(argv, stdin=theirs.fileno(), stdout=theirs.fileno())

    def socket(self) -> socket.socket:
        return self._ours

    def close(self) -> None:
        self._ours.close()
        try:
            self._child.wait(_PROXY_END_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


def unreachable(address: Address, error: OSError, timeout_s: float) -> ConnectionFailed:
    """What a failed attempt to reach `address` means, in plain words."""
    where = f"{address.host} port {address.port}"
    if isinstance(error, socket.gaierror):
        return ConnectionFailed(
            f"there is no host named {address.host}",
            hint="check the address; `gpuctl status` shows what the provider says",
        )
    if isinstance(error, ConnectionRefusedError):
        return ConnectionFailed(
            f"{where} refused the connection",
            hint="sshd is not up yet, or the port changed with a restart",
        )
    if isinstance(error, TimeoutError):
        return ConnectionFailed(
            f"{where} did not answer within {timeout_s:g} s",
            hint="the machine may be stopped, still booting, or behind a firewall",
        )
    if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
        return ConnectionFailed(f"there is no route to {address.host}", hint="is the network up?")
    return ConnectionFailed(f"{where} cannot be reached: {error.strerror or error}")
