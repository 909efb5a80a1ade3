"""Does an address answer, and is it an ssh server that does? Without a key, in one round trip."""

from __future__ import annotations

import socket

from gpuctl.errors import ConnectionFailed
from gpuctl.models import Address
from gpuctl.remote.dialling import unreachable

_BANNER_LIMIT_BYTES = 8 << 10


def dial(address: Address, timeout_s: float) -> socket.socket:
    """A TCP connection. Raises ConnectionFailed with the reason in plain words."""
    try:
        return socket.create_connection((address.host, address.port), timeout_s)
    except OSError as error:
        raise unreachable(address, error, timeout_s) from error


def banner(sock: socket.socket, address: Address) -> str:
    """What the ssh server calls itself, such as SSH-2.0-OpenSSH_9.2. Raises ConnectionFailed.

    A container's port is open before the sshd behind it is (runpod.md §8).
    """
    received = b""
    try:
        while len(received) < _BANNER_LIMIT_BYTES and (piece := sock.recv(1024)):
            received += piece
            for line in received.split(b"\n")[:-1]:
                if line.startswith(b"SSH-"):
                    return line.decode("ascii", "replace").strip()
    except OSError as error:
        raise ConnectionFailed(
            f"{address} accepts connections, but no ssh server answers behind it",
            hint="sshd may not be up yet; try again in half a minute",
        ) from error
    raise ConnectionFailed(
        f"{address} answers, but not as an ssh server",
        hint="sshd may not be up yet, or the port is another's: gpuctl connect reads it again",
    )
