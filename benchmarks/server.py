"""Debian's sshd on loopback, the lines to it, and OpenSSH's client as a person would start it."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.relay import Relay
from gpuctl.models import Address
from gpuctl.remote.ssh import SshShell, connect
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

    def shell(self, window_bytes: int = 4 << 20) -> SshShell:
        """A connection as gpuctl makes it; the default window is that of config_defaults.yaml."""
        return connect(
            Address("127.0.0.1", self.port, self.sshd.address.user),
            key=self.keys.id,
            verify=lambda _: None,
            connect_timeout_s=30.0,
            keepalive_s=15.0,
            silence_limit_s=60.0,
            window_bytes=window_bytes,
            use_agent=False,
        )

    @contextlib.contextmanager
    def master(self, *options: str) -> Iterator[list[str]]:
        """OpenSSH's ControlMaster; gives the options with which ssh and scp use it."""
        socket = self.folder / f"master-{self.port}"
        shared = ["-o", f"ControlPath={socket}"]
        subprocess.run(
            [*self.ssh("-M", "-N", "-f", *options, *shared), self.target],
            check=True,
            stdin=subprocess.DEVNULL,
        )
        try:
            yield shared
        finally:
            subprocess.run(
                [*self.ssh("-q", "-O", "exit", *shared), self.target], capture_output=True
            )

    @contextlib.contextmanager
    def at(self, rtt_s: float, *, is_steady: bool = False) -> Iterator[Server]:
        """The same server at the end of a line with this round trip, in seconds (relay.py)."""
        if rtt_s == 0:
            yield self
            return
        with Relay(self.sshd.address.port, rtt_s, is_steady=is_steady) as relay:
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
