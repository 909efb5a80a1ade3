"""One WebSocket handshake with a WhisperLive server, with the standard library alone."""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
from typing import Any

TEXT, BINARY, CLOSE, PING = 0x1, 0x2, 0x8, 0x9
_MOST_HEAD_BYTES = 16384
END_OF_AUDIO = b"END_OF_AUDIO"


class NotReady(Exception):
    """The server does not take a client; the text says why."""


def greet(
    port: int, *, token: str | None = None, limit_s: float = 10.0, host: str = "127.0.0.1"
) -> dict[str, Any]:
    """The server's first message to a client that asks nothing of it: SERVER_READY, or WAIT.

    In single-model mode the first handshake of all loads the model, hence the limit in seconds.
    Raises NotReady.
    """
    try:
        with socket.create_connection((host, port), timeout=limit_s) as connection:
            rest = _upgrade(connection, host, port, token)
            reader = _Reader(connection, rest)
            _send(connection, TEXT, json.dumps(_OPTIONS).encode())
            answer = reader.text()
            _send(connection, BINARY, END_OF_AUDIO)
            return answer
    except (OSError, ValueError) as error:
        raise NotReady(f"no handshake: {error}") from error


_OPTIONS = {
    "uid": "readiness",
    "language": "en",
    "task": "transcribe",
    "model": "any",
    "use_vad": True,
}


def _upgrade(connection: socket.socket, host: str, port: int, token: str | None) -> bytes:
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [
        "GET / HTTP/1.1",
        f"Host: {host}:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
        *([f"Authorization: Bearer {token}"] if token else []),
    ]
    connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    head = b""
    while b"\r\n\r\n" not in head:
        piece = connection.recv(4096)
        if not piece or len(head) > _MOST_HEAD_BYTES:
            raise NotReady("the server closed the connection at the handshake")
        head += piece
    status, _, rest = head.partition(b"\r\n\r\n")
    first = status.split(b"\r\n")[0].decode("latin-1")
    if " 101 " not in f"{first} ":
        raise NotReady(f"the server answered the handshake with: {first}")
    return rest


def _send(connection: socket.socket, opcode: int, payload: bytes) -> None:
    """One masked frame, as clients must send them (RFC 6455 §5.1)."""
    mask = os.urandom(4)
    size = len(payload)
    length = struct.pack("!B", 0x80 | size) if size < 126 else struct.pack("!BH", 0xFE, size)
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    connection.sendall(struct.pack("!B", 0x80 | opcode) + length + mask + masked)


class _Reader:
    def __init__(self, connection: socket.socket, rest: bytes) -> None:
        self._connection, self._buffer = connection, rest

    def text(self) -> dict[str, Any]:
        """The next text message. Raises NotReady when the server closes first."""
        while True:
            opcode, payload = self._frame()
            if opcode == CLOSE:
                raise NotReady("the server closed the connection without a word")
            if opcode == TEXT:
                found = json.loads(payload)
                if not isinstance(found, dict):
                    raise NotReady("the server's first message is not an object")
                return found

    def _frame(self) -> tuple[int, bytes]:
        first, second = self._take(2)
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", self._take(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", self._take(8))
        return first & 0x0F, self._take(size)

    def _take(self, count: int) -> bytes:
        while len(self._buffer) < count:
            piece = self._connection.recv(4096)
            if not piece:
                raise NotReady("the server hung up without a word")
            self._buffer += piece
        found, self._buffer = self._buffer[:count], self._buffer[count:]
        return found
