"""A TCP relay on loopback whose connections a test can cut, as a network does."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Relay:
    """Leads to `target_port`. `bytes_up` is what has gone to it so far."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._is_open = True
        self.cut_after_bytes: int | None = None
        self.bytes_up = 0
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    def cut(self) -> None:
        """Every connection, at once and without a farewell."""
        pairs, self._pairs = self._pairs, []
        self.cuts += bool(pairs)
        for pair in pairs:
            for end in pair:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

    def close(self) -> None:
        self._is_open = False
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while self._is_open:
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(("127.0.0.1", self._target_port))
            except OSError:
                continue
            self._pairs.append((near, far))
            threading.Thread(target=self._copy, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self._copy, args=(far, near, False), daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket, is_up: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
                if is_up:
                    self._count(len(data))
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def _count(self, count: int) -> None:
        self.bytes_up += count
        if self.cut_after_bytes is not None and self.bytes_up >= self.cut_after_bytes:
            self.cut_after_bytes = None
            self.cut()


@contextmanager
def relay(target_port: int) -> Iterator[Relay]:
    found = Relay(target_port)
    try:
        yield found
    finally:
        found.close()
