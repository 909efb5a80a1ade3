"""paramiko, tuned: fewer round trips, no re-key dead-lock, an eye on silence.

Imported only by `ssh.connect`, while the TCP connection is being made: paramiko takes 100 ms. Every
use of its private names is in this file and in ssh_process.py; the tests pin each of them.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import paramiko
from paramiko.auth_handler import AuthHandler
from paramiko.common import cMSG_GLOBAL_REQUEST
from paramiko.message import Message
from paramiko.packet import Packetizer

from gpuctl.errors import ConnectionFailed, CredentialsError
from gpuctl.models import Address

# Without a handler of its own Python would print paramiko's tracebacks on the operator's terminal.
logging.getLogger("paramiko").addHandler(logging.NullHandler())

MAX_PACKET_BYTES = 256 << 10
_SMALL_BYTES = 4 << 10
# GCM first: it is the faster one here; ctr for servers that lack it (performance.md §4.2).
_CIPHERS = ("aes128-gcm@openssh.com", "aes128-ctr")


class Packets(Packetizer):
    """The packet layer that knows when it last heard anything, and never starts a re-key.

    When paramiko starts a re-key (after 2**29 bytes) while the server's CHANNEL_CLOSE is in flight,
    its only thread waits for itself until the connection dies: performance.md §4.3, paramiko issues
    174 and 822. 2**40 bytes stay far below what AES-GCM allows under one key, 2**31 packets are the
    bound of RFC 4344 §3.1, and a server that asks for new keys still gets them.
    """

    REKEY_BYTES = 1 << 40
    REKEY_PACKETS = 1 << 31

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self._sock = sock
        self._acks_at_once = sock.family in (socket.AF_INET, socket.AF_INET6)
        self.heard_at = time.monotonic()
        self.asked_at = self.heard_at
        self.ask: Callable[[], None] | None = None
        self.ask_after_s = 0.0

    def read_message(self) -> tuple[int, Message]:
        message = super().read_message()
        self.heard_at = time.monotonic()
        if self._acks_at_once and message[1].packet.getbuffer().nbytes < _SMALL_BYTES:
            self._acknowledge()
        return message

    def _acknowledge(self) -> None:
        # sshd leaves Nagle's algorithm on: it holds its second small packet (an event, the answer
        # to exec) until the first is acknowledged, for which the kernel takes its 40 ms. The first
        # command of a connection takes 8 ms in place of 47 on loopback. Linux forgets it each time.
        try:
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        except (OSError, AttributeError):
            self._acks_at_once = False

    def _check_keepalive(self) -> None:
        # The base class counts from the last byte *sent*; a frozen machine can be written to for
        # a long time. Called by the reading thread whenever 0.1 s brought nothing.
        now = time.monotonic()
        if self.ask is None or now - max(self.heard_at, self.asked_at) < self.ask_after_s:
            return
        self.asked_at = now
        self.ask()


class _EagerAuth(AuthHandler):
    """Sends the authentication along with the service request: one round trip less.

    RFC 4252 §5 lets the client go on without the answer; all servers process messages in order.
    """

    def _request_auth(self) -> None:
        super()._request_auth()  # type: ignore[misc]
        accepted = Message()
        accepted.add_string("ssh-userauth")
        accepted.rewind()
        super()._parse_service_accept(accepted)  # type: ignore[misc]

    def _parse_service_accept(self, m: Message) -> None:
        """What it would send is under way already."""


def open_transport(
    sock: socket.socket, *, window_bytes: int, host_key_types: Sequence[str], timeout_s: float
) -> paramiko.Transport:
    """The encrypted, not yet authenticated connection over `sock`."""
    transport = paramiko.Transport(
        sock,
        default_window_size=window_bytes,
        default_max_packet_size=MAX_PACKET_BYTES,
        packetizer_class=Packets,
    )
    transport.daemon = True
    transport.banner_timeout = transport.handshake_timeout = timeout_s
    transport.auth_timeout = transport.channel_timeout = timeout_s
    options = transport.get_security_options()
    options.ciphers = _CIPHERS
    if known := [name for name in host_key_types if name in options.key_types]:
        options.key_types = (*known, *(name for name in options.key_types if name not in known))
    try:
        transport.start_client(timeout=timeout_s)
        if not transport.initial_kex_done:
            raise paramiko.SSHException("no key exchange in time")
    except BaseException:
        transport.close()
        raise
    return transport


def watch(transport: paramiko.Transport, keepalive_s: float) -> Packets:
    """Has the server asked for a sign of life whenever nothing came for `keepalive_s`."""
    packets = transport.packetizer
    assert isinstance(packets, Packets)

    def ask() -> None:
        # While keys are negotiated a send would wait for this very thread.
        if transport.clear_to_send.is_set():
            transport._send_user_message(_keepalive())  # type: ignore[attr-defined]

    packets.ask_after_s = keepalive_s
    packets.ask = ask
    return packets


def _keepalive() -> Message:
    message = Message()
    message.add_byte(cMSG_GLOBAL_REQUEST)
    message.add_string("keepalive@openssh.com")
    message.add_boolean(True)
    return message


def authenticate(
    transport: paramiko.Transport, user: str, key: paramiko.PKey, meanwhile: Callable[[], None]
) -> bool:
    """Whether `user` may enter with `key`. `meanwhile` is called once the request is on its way.

    Raises paramiko's exceptions when the connection itself fails.
    """
    handler = _EagerAuth(transport)
    transport.auth_handler = handler
    event = threading.Event()
    handler.auth_publickey(user, key, event)
    meanwhile()
    try:
        return not handler.wait_for_response(event)
    except paramiko.AuthenticationException:
        if not transport.is_active():
            raise
        return False


@contextlib.contextmanager
def renamed(address: Address) -> Iterator[None]:
    """Turns what paramiko and sockets raise into ConnectionFailed and CredentialsError."""
    try:
        yield
    except paramiko.AuthenticationException as error:
        raise CredentialsError(f"{address} did not let us in: {error}") from error
    except paramiko.SSHException as error:
        raise _connection_failed(address, error) from error
    except (EOFError, OSError) as error:
        raise ConnectionFailed(
            f"{address} closed the connection: {str(error) or 'no reason given'}"
        ) from error


def _connection_failed(address: Address, error: paramiko.SSHException) -> ConnectionFailed:
    where, text = f"{address.host} port {address.port}", str(error)
    if "banner" not in text and "protocol version" not in text and "in time" not in text:
        return ConnectionFailed(f"the ssh connection to {address} failed: {text}")
    if "in time" in text or isinstance(error.__context__, TimeoutError):
        return ConnectionFailed(
            f"{where} accepted the connection and then fell silent",
            hint="the machine may be frozen or still booting",
        )
    # A container port answers before the sshd behind it does.
    return ConnectionFailed(
        f"{where} answers, but not as an ssh server",
        hint="sshd may not be up yet, or this is another service's port",
    )
