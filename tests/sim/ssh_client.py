"""A paramiko client with TCP_NODELAY, for the tests of the simulator's SSH side."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import paramiko

from gpuctl.models import Json


@dataclass(frozen=True)
class Login:
    """An ed25519 key pair: `private` is its file, `public` the line for PUBLIC_KEY."""

    private: Path
    public: str

    @property
    def key(self) -> paramiko.PKey:
        return paramiko.Ed25519Key.from_private_key_file(str(self.private))


def new_login(folder: Path) -> Login:
    private = folder / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", private], check=True)
    return Login(private, private.with_suffix(".pub").read_text())


@dataclass(frozen=True)
class Answer:
    code: int
    stdout: str
    stderr: str


@contextmanager
def connected(pod: Json, login: Login) -> Iterator[paramiko.Transport]:
    direct = pod["ssh"]["direct"]
    raw = socket.create_connection((direct["host"], direct["port"]), timeout=10)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    transport = paramiko.Transport(raw)
    try:
        transport.connect(username="root", pkey=login.key)
        yield transport
    finally:
        transport.close()
        transport.join(10)


def execute(transport: paramiko.Transport, command: str, stdin: bytes = b"") -> Answer:
    channel = transport.open_session()
    channel.settimeout(20)
    channel.exec_command(command)
    with contextlib.suppress(OSError, EOFError):  # the connection may be cut on purpose
        channel.sendall(stdin)
        channel.shutdown_write()
    stdout = b"".join(iter(lambda: channel.recv(1 << 16), b""))
    stderr = b"".join(iter(lambda: channel.recv_stderr(1 << 16), b""))
    return Answer(channel.recv_exit_status(), stdout.decode(), stderr.decode())
