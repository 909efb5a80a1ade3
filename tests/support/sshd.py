"""Debian's own OpenSSH server on a free loopback port, with keys made for the session."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from gpuctl.models import Address

SSHD = Path("/usr/sbin/sshd")
_PRIVILEGE_SEPARATION = Path("/run/sshd")
_START_LIMIT_S = 10.0

_CONFIG = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/{host_key}
AuthorizedKeysFile {folder}/authorized_keys
PidFile {folder}/pid
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
MaxStartups 300:30:400
Subsystem sftp internal-sftp
LogLevel VERBOSE
# Not the tester's home: bash reads ~/.bashrc for every command under sshd, which can take 0.2 s.
SetEnv HOME={folder}/home
"""


@dataclass(frozen=True)
class Keys:
    """Key pairs made once per test session: `id` may enter, `stranger` may not."""

    folder: Path

    @property
    def id(self) -> Path:
        return self.folder / "id"

    @property
    def stranger(self) -> Path:
        return self.folder / "stranger"


def make_keys(folder: Path) -> Keys:
    """Ed25519 keys id, stranger, host, other_host; id alone is authorised."""
    for name in ("id", "stranger", "host", "other_host"):
        generate(folder / name)
    (folder / "authorized_keys").write_bytes((folder / "id.pub").read_bytes())
    return Keys(folder)


def generate(path: Path, kind: str = "ed25519", passphrase: str = "") -> None:
    command = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


class Sshd:
    """One running daemon. `sessions` are the processes that serve its connections."""

    def __init__(
        self, keys: Keys, *, host_key: str = "host", port: int | None = None, extra: str = ""
    ) -> None:
        self._port = port if port is not None else _free_port()
        self._config = keys.folder / f"sshd_config_{self._port}"
        (keys.folder / "home").mkdir(exist_ok=True)
        text = _CONFIG.format(port=self._port, folder=keys.folder, host_key=host_key)
        self._config.write_text(text + extra)
        self._log = (keys.folder / f"log_{self._port}").open("wb")
        self.host_key = " ".join((keys.folder / f"{host_key}.pub").read_text().split()[:2])
        command = [str(SSHD), "-D", "-e", "-f", str(self._config)]
        self._daemon = subprocess.Popen(command, stderr=self._log, stdin=subprocess.DEVNULL)
        self._wait_until_listening()

    @property
    def address(self) -> Address:
        return Address("127.0.0.1", self._port, os.environ.get("USER") or "root")

    def sessions(self) -> list[int]:
        """All descendants of the daemon that are sshd themselves, innermost last."""
        found, parents = [], [self._daemon.pid]
        while parents:
            parent = parents.pop(0)
            inner = [child for child in _children(parent) if _is_sshd(child)]
            found += inner
            parents += inner
        return found

    def signal_sessions(self, number: signal.Signals) -> None:
        for pid in reversed(self.sessions()):
            with contextlib.suppress(ProcessLookupError):  # It ended meanwhile.
                os.kill(pid, number)

    def close(self) -> None:
        self.signal_sessions(signal.SIGKILL)
        self._daemon.kill()
        self._daemon.wait()
        self._log.close()

    def _wait_until_listening(self) -> None:
        deadline = time.monotonic() + _START_LIMIT_S
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self._port), 1).close()
            except ConnectionRefusedError:
                if self._daemon.poll() is not None:
                    break
                time.sleep(0.005)
            else:
                return
        raise RuntimeError(f"sshd did not start: {Path(self._log.name).read_text()}")


def require_sshd() -> None:
    """Skips where there is no sshd, and fails there when GPUCTL_TEST_REQUIRE names it."""
    if SSHD.exists():
        _PRIVILEGE_SEPARATION.mkdir(exist_ok=True)
        return
    reason = f"{SSHD} is not installed (apt-get install openssh-server)"
    if "sshd" in os.environ.get("GPUCTL_TEST_REQUIRE", "").replace(",", " ").split():
        pytest.fail(reason)
    pytest.skip(reason)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [int(child) for child in text.split()]


def _is_sshd(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().startswith("sshd")
    except (FileNotFoundError, ProcessLookupError):
        return False
