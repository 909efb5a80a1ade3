"""One SSH connection: dialled while paramiko loads, verified, authenticated, watched."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuctl.closing import Closing
from gpuctl.errors import ConnectionFailed, CredentialsError
from gpuctl.models import Address
from gpuctl.remote import commands, quoting, transfer, tunnel
from gpuctl.remote.base import Completed, OnBytes, OnStderr
from gpuctl.remote.dialling import Dial, Proxy

if TYPE_CHECKING:
    import paramiko

    from gpuctl.remote.ssh_keys import Keys
    from gpuctl.remote.ssh_process import SshProcess


def connect(
    address: Address,
    *,
    key: Path | None,
    verify: Callable[[str], None],
    connect_timeout_s: float,
    keepalive_s: float,
    silence_limit_s: float,
    window_bytes: int,
    use_agent: bool = True,
    host_key_types: Sequence[str] = (),
    proxy_command: str | None = None,
) -> SshShell:
    """An open shell on `address`, in about five round trips.

    `verify` gets the server's key as "<type> <base64>" before anything is sent to it, and raises
    HostKeyChanged or ConnectionFailed to refuse. `host_key_types` are asked for first (those that
    are pinned). Raises ConnectionFailed, CredentialsError.
    """
    _require_some_key(key, use_agent=use_agent)
    line = Proxy(proxy_command) if proxy_command is not None else Dial(address, connect_timeout_s)
    try:
        _import_paramiko()
        # Behind the dialling: these load paramiko, 100 ms that the network uses as well.
        from gpuctl.remote import ssh_keys, ssh_wire  # noqa: PLC0415

        sock = line.socket()
        keys = ssh_keys.Keys(key, use_agent=use_agent)
        with ssh_wire.renamed(address), contextlib.closing(keys):
            transport = ssh_wire.open_transport(
                sock,
                window_bytes=window_bytes,
                host_key_types=host_key_types,
                timeout_s=connect_timeout_s,
            )
            with _closed_on_failure(transport):
                server_key = transport.get_remote_server_key()
                verify(f"{server_key.get_name()} {server_key.get_base64()}")
                shell = SshShell(transport, line, address, keepalive_s, silence_limit_s)
                _authenticate(shell, address, keys)
    except BaseException:
        line.close()
        raise
    return shell


class SshShell(Closing):
    """The four verbs over one authenticated connection. Closes with `with`."""

    def __init__(
        self,
        transport: paramiko.Transport,
        line: Dial | Proxy,
        address: Address,
        keepalive_s: float,
        silence_limit_s: float,
    ) -> None:
        from gpuctl.remote import ssh_process, ssh_wire  # noqa: PLC0415  (as in connect)

        self._process = ssh_process.SshProcess
        self._renamed = ssh_wire.renamed
        self.transport = transport
        self.sessions = ssh_process.Sessions(transport)
        self._line = line
        self._address = address
        self._silence = _Silence(transport, ssh_wire.watch(transport, keepalive_s), silence_limit_s)

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 60.0) -> Completed:
        return commands.run(self.start, argv, stdin, timeout_s)

    def start(self, argv: Sequence[str], *, on_stderr: OnStderr | None = None) -> SshProcess:
        """Raises ConnectionFailed."""
        if not self.transport.is_active():
            raise ConnectionFailed(self._why_lost())
        with self._renamed(self._address):
            channel = self.sessions.take()
            return self._process(channel, quoting.join(argv), self._why_lost, on_stderr)

    def prepare(self) -> None:
        self.sessions.prepare()

    def put(
        self,
        source: Path,
        target: str,
        *,
        mode: int | None = None,
        on_bytes: OnBytes | None = None,
    ) -> None:
        transfer.put(self.start, source, target, mode=mode, on_bytes=on_bytes)

    def get(
        self,
        source: str,
        target: Path,
        *,
        size: int | None = None,
        sha256: str | None = None,
        on_bytes: OnBytes | None = None,
    ) -> None:
        transfer.get(self.start, source, target, size=size, sha256=sha256, on_bytes=on_bytes)

    def forward(self, port: int, *, local_port: int = 0) -> AbstractContextManager[int]:
        return tunnel.forward(self.transport, port, local_port=local_port)

    def listens(self, port: int) -> bool:
        """Raises ConnectionFailed."""
        with self._renamed(self._address):
            return tunnel.answers(self.transport, port)

    @contextlib.contextmanager
    def sftp(self) -> Iterator[paramiko.SFTPClient]:
        """For listings and stat; whole files go faster through `get` and `put`."""
        with self._renamed(self._address):
            client = self.transport.open_sftp_client()
            assert client is not None
            try:
                yield client
            finally:
                client.close()

    def close(self) -> None:
        self._silence.stop()
        self.transport.close()
        self._line.close()

    def _why_lost(self) -> str:
        return f"the connection to {self._address} was lost: {self._silence.reason}"


class _Silence:
    """Cuts a connection on which nothing came for `limit_s`, not even an answer to a keep-alive.

    A frozen machine leaves TCP open for many minutes, and paramiko's own keep-alive does not wait
    for the answer (feasibility.md §1). Cutting it wakes every reader and writer.
    """

    def __init__(self, transport: paramiko.Transport, packets: Any, limit_s: float) -> None:
        self.reason = "the other side closed it"
        self._transport = transport
        self._packets = packets
        self._limit_s = limit_s
        self._stopped = threading.Event()
        threading.Thread(target=self._watch, name="silence", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(min(1.0, self._limit_s / 4)):
            if not self._transport.is_active():
                return
            if time.monotonic() - self._packets.heard_at > self._limit_s:
                self.reason = f"nothing was heard for {self._limit_s:g} s"
                self._packets.close()
                return


@contextlib.contextmanager
def _closed_on_failure(transport: paramiko.Transport) -> Iterator[None]:
    try:
        yield
    except BaseException:
        transport.close()
        raise


def _authenticate(shell: SshShell, address: Address, keys: Keys) -> None:
    from gpuctl.remote import ssh_wire  # noqa: PLC0415  (as in connect)

    # The first command's channel is opened behind the first key: it nearly always fits.
    meanwhile: Callable[[], None] = shell.sessions.prepare
    for key in keys:
        if ssh_wire.authenticate(shell.transport, address.user, key, meanwhile):
            return
        shell.sessions.forget()
        meanwhile = _nothing
    hint = f"ssh-copy-id -p {address.port} {address.user}@{address.host}, or set ssh.key"
    if keys.is_encrypted:
        hint = "ssh-add the key, so that the agent holds it without its passphrase"
    tried = ", ".join(keys.tried) or "nothing: there is no key file and the agent holds none"
    raise CredentialsError(f"{address} accepted none of our keys; tried {tried}", hint=hint)


def _nothing() -> None:
    return


def _require_some_key(key: Path | None, *, use_agent: bool) -> None:
    """Before anything is dialled: a clear word when there is nothing to enter with."""
    if use_agent and os.environ.get("SSH_AUTH_SOCK"):
        return
    if key is None:
        raise CredentialsError(
            "there is no ssh key to enter with and no agent",
            hint="gpuctl config set ssh.key ~/.ssh/id_ed25519",
        )
    if not key.expanduser().exists():
        raise CredentialsError(
            f"the key file {key} (ssh.key) does not exist",
            hint=f"gpuctl config set ssh.key PATH, or make one: ssh-keygen -t ed25519 -f {key}",
        )


def _import_paramiko() -> None:
    """paramiko.config tries to import `invoke`, which costs 50 ms for a rare keyword of ssh_config.

    None in sys.modules makes that import fail at once, as if it were not installed.
    """
    if "paramiko" in sys.modules or "invoke" in sys.modules:
        return
    modules: dict[str, Any] = sys.modules
    modules["invoke"] = None
    try:
        import paramiko  # noqa: F401, PLC0415
    finally:
        del modules["invoke"]
