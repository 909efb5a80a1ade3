"""direct-tcpip: a tunnel from an SSH channel to a service on this computer's loopback."""

from __future__ import annotations

import socket
import threading

import paramiko

CHUNK_BYTES = 1 << 18
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def connect(host: str, port: int) -> socket.socket | None:
    """A connection to the service, or None when it is not on loopback or nobody listens."""
    if host not in LOOPBACK:
        return None
    try:
        connection = socket.create_connection(("127.0.0.1", port), timeout=5)
    except OSError:
        return None
    connection.settimeout(None)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def join(channel: paramiko.Channel, connection: socket.socket) -> None:
    """Copies both ways until both are done; each end's EOF is passed on by itself."""
    back = threading.Thread(target=_to_channel, args=(connection, channel), daemon=True)
    back.start()
    _to_socket(channel, connection)
    back.join()
    connection.close()
    channel.close()


def _to_socket(channel: paramiko.Channel, connection: socket.socket) -> None:
    try:
        while data := channel.recv(CHUNK_BYTES):
            connection.sendall(data)
        # A channel that is gone altogether takes the whole connection with it.
        connection.shutdown(socket.SHUT_RDWR if channel.closed else socket.SHUT_WR)
    except OSError:
        return


def _to_channel(connection: socket.socket, channel: paramiko.Channel) -> None:
    try:
        while data := connection.recv(CHUNK_BYTES):
            channel.sendall(data)
        channel.shutdown_write()
    except OSError:
        channel.close()
