"""Debian's sshd on loopback, the lines to it, and OpenSSH's client as a person would start it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.relay import Relay
from tests.support.sshd import SSHD, Keys, Sshd, make_keys


@dataclass(frozen=True)
class Server:
    """An sshd and a folder for its files; `rtt_s` is the round trip of the line before `port`."""

    sshd: Sshd
    keys: Keys
    folder: Path
    port: int
    rtt_s: float = 0.0

    @property
    def target(self) -> str:
        return f"{self.sshd.address.user}@127.0.0.1"

    def options(self) -> list[str]:
        """For ssh and scp. No configuration of the tester, no questions, no notes."""
        return [
            *("-F", "/dev/null", "-i", str(self.keys.id), "-o", "IdentitiesOnly=yes"),
            *("-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR"),
            *("-o", f"UserKnownHostsFile={self.folder}/known_hosts"),
        ]

    def ssh(self, *words: str) -> list[str]:
        return ["ssh", *self.options(), "-p", str(self.port), *words]

    def scp(self, *words: str) -> list[str]:
        return ["scp", "-q", *self.options(), "-P", str(self.port), *words]

    @contextlib.contextmanager
    def at(self, rtt_s: float) -> Iterator[Server]:
        """The same server at the end of a line with this round trip, in seconds."""
        if rtt_s == 0:
            yield self
            return
        with Relay(self.sshd.address.port, rtt_s) as relay:
            yield Server(self.sshd, self.keys, self.folder, relay.port, rtt_s)


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Server]:
    """Raises RuntimeError where OpenSSH's server is not installed."""
    if not SSHD.exists():
        raise RuntimeError(f"{SSHD} is missing: apt-get install openssh-server")
    Path("/run/sshd").mkdir(exist_ok=True)
    (folder / "keys").mkdir()
    keys = make_keys(folder / "keys")
    sshd = Sshd(keys, extra="MaxSessions 200\n")
    try:
        yield Server(sshd, keys, folder, sshd.address.port)
    finally:
        sshd.close()
