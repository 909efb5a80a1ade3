"""A port of this computer that leads to a port of the machine's loopback, while it is needed."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import paramiko

_ACCEPT_POLL_S = 0.2
_PIECE_BYTES = 64 << 10


@contextlib.contextmanager
def forward(
    transport: paramiko.Transport, port: int, *, host: str = "127.0.0.1", local_port: int = 0
) -> Iterator[int]:
    """Yields the local port (on 127.0.0.1; 0 = chosen by the system). Ends with the block.

    A connection that the machine refuses is closed at once; the others go on. Raises OSError when
    `local_port` is taken.
    """
    listener = socket.create_server(("127.0.0.1", local_port))
    listener.settimeout(_ACCEPT_POLL_S)
    tunnel = _Tunnel(transport, listener, (host, port))
    try:
        yield listener.getsockname()[1]
    finally:
        tunnel.close()


def answers(transport: paramiko.Transport, port: int, *, host: str = "127.0.0.1") -> bool:
    """Whether the machine can connect to its own `port`. Raises paramiko's other exceptions."""
    import paramiko  # noqa: PLC0415  long loaded: there is a transport

    try:
        transport.open_channel("direct-tcpip", (host, port), ("127.0.0.1", 0)).close()
    except paramiko.ChannelException:
        return False
    return True


class _Tunnel:
    def __init__(
        self, transport: paramiko.Transport, listener: socket.socket, target: tuple[str, int]
    ) -> None:
        self._transport = transport
        self._listener = listener
        self._target = target
        self._is_open = True
        self._threads: list[threading.Thread] = []
        self._links: list[tuple[socket.socket, paramiko.Channel]] = []
        self._lock = threading.Lock()
        self._listening = threading.Thread(target=self._accept, name="tunnel", daemon=True)
        self._listening.start()

    def close(self) -> None:
        with self._lock:
            self._is_open = False
        self._listening.join()
        with self._lock:
            links, threads = list(self._links), list(self._threads)
        for sock, channel in links:
            channel.close()
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(5)
        for sock, _ in links:
            sock.close()
        self._listener.close()

    def _serve(self, *args: object) -> None:
        thread = threading.Thread(target=self._connect, args=args, name="tunnel", daemon=True)
        with self._lock:
            self._threads = [t for t in self._threads if t.is_alive()] + [thread]
            thread.start()

    def _accept(self) -> None:
        while self._is_open and self._transport.is_active():
            try:
                sock, origin = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            self._serve(sock, origin)

    def _connect(self, sock: socket.socket, origin: tuple[str, int]) -> None:
        import paramiko  # noqa: PLC0415  long loaded: there is a transport

        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(None)
        try:
            channel = self._transport.open_channel("direct-tcpip", self._target, origin)
        except (OSError, EOFError, paramiko.SSHException):
            sock.close()
            return
        link = (sock, channel)
        with self._lock:
            if not self._is_open:
                channel.close()
                sock.close()
                return
            self._links.append(link)
        back = threading.Thread(target=_to_machine, args=link, name="tunnel", daemon=True)
        back.start()
        _to_client(sock, channel)
        back.join(5)
        with self._lock:
            if self._is_open:
                self._links.remove(link)
                sock.close()


def _to_machine(sock: socket.socket, channel: paramiko.Channel) -> None:
    with contextlib.suppress(OSError, EOFError):
        while data := sock.recv(_PIECE_BYTES):
            channel.sendall(data)
        channel.shutdown_write()


def _to_client(sock: socket.socket, channel: paramiko.Channel) -> None:
    with contextlib.suppress(OSError, EOFError):
        while data := channel.recv(_PIECE_BYTES):
            sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
