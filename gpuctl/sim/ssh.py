"""A pod's SSH server: a loopback port, a host key of its own, and paramiko behind both."""

# ruff: noqa: ARG002  paramiko's interface decides what its methods are given

from __future__ import annotations

import contextlib
import io
import re
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import paramiko
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from paramiko import common

from gpuctl.sim import forwards
from gpuctl.sim.box import SHELL, Box
from gpuctl.sim.commands import Command, Launch, Terminal
from gpuctl.sim.drops import Drops, Meter
from gpuctl.sim.sftp import PodFiles

# paramiko dead-locks when it re-keys while a channel closes (performance.md §4.3).
NEVER_BYTES = 1 << 40
ACCEPT_S = 1.0
LOCALE = re.compile(rb"LANG|LC_\w+")


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the server asks of its pod: the environment of a new command, whether the disk is full,
    which connections to drop, where to write its log, and which port of this computer stands for
    one of the pod's."""

    environment: Callable[[], Mapping[str, str]]
    disk_is_full: Callable[[], bool]
    drops: Drops
    log: Callable[[str], None]
    port: Callable[[int], int]


class SshServer:
    """Listens from construction on, at `port` on 127.0.0.1, until `close`."""

    def __init__(
        self, box: Box, authorized: Iterable[str], hooks: Hooks, user: str = "root"
    ) -> None:
        self._box = box
        self.user = user
        self._hooks = hooks
        self._authorized = {tuple(line.split()[:2]) for line in authorized if line.strip()}
        self._host_key = new_host_key()
        self._transports: set[paramiko.Transport] = set()
        self._lock = threading.Lock()
        self._is_closed = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True, name=f"sshd-{self.port}").start()

    def close(self) -> None:
        """Stops listening and cuts every connection."""
        with self._lock:
            self._is_closed = True
            transports = list(self._transports)
        # close() alone leaves a thread that is blocked in accept() listening.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for transport in transports:
            transport.close()

    @property
    def host_key(self) -> str:
        """`<type> <base64>`, as a known_hosts file has it."""
        return f"{self._host_key.get_name()} {self._host_key.get_base64()}"

    def is_authorized(self, key: paramiko.PKey) -> bool:
        return (key.get_name(), key.get_base64()) in self._authorized

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        transport = paramiko.Transport(connection)
        transport.packetizer.REKEY_BYTES = NEVER_BYTES
        transport.add_server_key(self._host_key)
        transport.set_subsystem_handler(
            "sftp", paramiko.SFTPServer, PodFiles, self._box, self._hooks.disk_is_full
        )
        with self._lock:
            if self._is_closed:
                transport.close()
                return
            self._transports.add(transport)
        session = _Connection(self, self._box, self._hooks, transport)
        # A probe that only read the banner ends in an SSHException.
        with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
            transport.start_server(server=session)
            session.serve()
        transport.close()
        with self._lock:
            self._transports.discard(transport)


@dataclass(slots=True)
class _Session:
    terminal: Terminal | None = None
    locale: dict[str, str] = field(default_factory=dict)
    command: Command | None = None


class _Connection(paramiko.ServerInterface):
    """One client: who may in, and what its channels may do."""

    def __init__(
        self, server: SshServer, box: Box, hooks: Hooks, transport: paramiko.Transport
    ) -> None:
        self._server = server
        self._box = box
        self._hooks = hooks
        self._transport = transport
        self._sessions: dict[int, _Session] = {}
        self._tunnels: dict[int, socket.socket] = {}

    def serve(self) -> None:
        """Holds every channel (paramiko keeps only weak references) and joins the tunnels."""
        channels: list[paramiko.Channel] = []
        while self._transport.is_active():
            channel = self._transport.accept(timeout=ACCEPT_S)
            channels = [open_ for open_ in channels if not open_.closed]
            if channel is None:
                continue
            channels.append(channel)
            tunnel = self._tunnels.pop(channel.get_id(), None)
            if tunnel is not None:
                threading.Thread(target=forwards.join, args=(channel, tunnel), daemon=True).start()

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        if username == self._server.user and self._server.is_authorized(key):
            return common.AUTH_SUCCESSFUL
        return common.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        if kind != "session":
            return common.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED
        self._arm_drop()
        self._sessions[chanid] = _Session()
        return common.OPEN_SUCCEEDED

    def check_channel_env_request(
        self, channel: paramiko.Channel, name: bytes, value: bytes
    ) -> bool:
        if not LOCALE.fullmatch(name):
            return False
        self._session(channel).locale[name.decode()] = value.decode(errors="replace")
        return True

    def check_channel_pty_request(
        self,
        channel: paramiko.Channel,
        term: bytes,
        width: int,
        height: int,
        pixelwidth: int,
        pixelheight: int,
        modes: bytes,
    ) -> bool:
        name = term.decode(errors="replace") or "dumb"
        self._session(channel).terminal = Terminal(name, width, height)
        return True

    def check_channel_window_change_request(
        self, channel: paramiko.Channel, width: int, height: int, pixelwidth: int, pixelheight: int
    ) -> bool:
        command = self._session(channel).command
        if command is not None:
            command.resize(width, height)
        return True

    def check_channel_shell_request(self, channel: paramiko.Channel) -> bool:
        is_terminal = self._session(channel).terminal is not None
        return self._start(channel, [SHELL, "-i"] if is_terminal else [SHELL])

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        return self._start(channel, [SHELL, "-c", command.decode("utf-8", "surrogateescape")])

    def check_channel_direct_tcpip_request(
        self, chanid: int, origin: tuple[str, int], destination: tuple[str, int]
    ) -> int:
        host, port = destination
        connection = forwards.connect(host, self._hooks.port(port))
        if connection is None:
            return common.OPEN_FAILED_CONNECT_FAILED
        self._arm_drop()
        self._tunnels[chanid] = connection
        return common.OPEN_SUCCEEDED

    def _start(self, channel: paramiko.Channel, argv: list[str]) -> bool:
        session = self._session(channel)
        environment = {**self._hooks.environment(), **session.locale}
        launch = Launch(argv, environment, self._box.home)
        session.command = Command(channel, launch, Meter(self._hooks.drops), self._hooks.log)
        threading.Thread(target=session.command.run, args=(session.terminal,), daemon=True).start()
        return True

    def _session(self, channel: paramiko.Channel) -> _Session:
        return self._sessions.setdefault(channel.get_id(), _Session())

    def _arm_drop(self) -> None:
        seconds = self._hooks.drops.opened()
        if seconds is not None:
            timer = threading.Timer(seconds, self._transport.close)
            timer.daemon = True
            timer.start()


def new_host_key() -> paramiko.PKey:
    """paramiko cannot generate ed25519 keys itself (feasibility.md §1)."""
    pem = Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()
    )
    return paramiko.Ed25519Key.from_private_key(io.StringIO(pem.decode()))
