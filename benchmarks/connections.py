"""Connecting and running a command, against OpenSSH's client and stock paramiko (P8–P10)."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import server
from benchmarks.measure import Rounds, Row, command, interleave
from benchmarks.server import Server

if TYPE_CHECKING:
    import paramiko

DISTANT_RTT_S = 0.100


def run(folder: Path, rounds: int, _full: bool) -> list[Row]:
    with server.running(folder) as near, near.at(DISTANT_RTT_S) as far:
        with near.shell(), far.shell():
            pass  # paramiko is imported here: that is part of P15, not of these
        here, there = _commands(near, rounds or 9), _commands(far, rounds or 7)
        first = interleave({"paramiko": _Stock(near), "gpuctl": _Tuned(near)}, rounds or 9)
    return [
        Row("P8", "exec on a live connection / ssh cold, loopback",
            here.ratio("exec", "ssh"), 0.08, note=here.note()),
        Row("P8", "the same, in round trips", _trips("exec", here, there), 2.3, unit=" RTT"),
        Row("P9", "connect + exec / ssh, 100 ms", there.ratio("connect + exec", "ssh"), 0.75,
            note=there.note()),
        Row("P9", "the same, in round trips", _trips("connect + exec", here, there), 9.5,
            unit=" RTT", note=f"ssh: {_trips('ssh', here, there):.1f}; stretch goal 7"),
        Row("P10", "first SFTP answer after an exec / stock paramiko",
            first.ratio("gpuctl", "paramiko"), 0.1, note=first.note()),
    ]  # fmt: skip


def _commands(at: Server, rounds: int) -> Rounds:
    with at.shell() as live:

        def connect() -> None:
            with at.shell() as shell:
                shell.run(["true"])

        def execute() -> None:
            live.run(["true"])

        actions = {
            "ssh": command(at.ssh(at.target, "true")),
            "connect + exec": connect,
            "exec": execute,
        }
        return interleave(actions, rounds)


def _trips(name: str, here: Rounds, there: Rounds) -> float:
    """The slope: what a longer line adds, in its round trips."""
    return (there.ms(name) - here.ms(name)) / (DISTANT_RTT_S * 1000)


class _Tuned:
    """Seconds from an SFTP request to its answer, right after a command, on a new connection."""

    def __init__(self, at: Server) -> None:
        self._at = at

    def __call__(self) -> float:
        with self._at.shell() as shell, shell.sftp() as sftp:
            shell.run(["true"])
            return _stat(sftp)


class _Stock:
    """The same with paramiko as everybody opens it."""

    def __init__(self, at: Server) -> None:
        self._at = at

    def __call__(self) -> float:
        with _stock_client(self._at) as client:
            sftp = client.open_sftp()
            client.exec_command("true")[1].channel.recv_exit_status()
            return _stat(sftp)


def _stat(sftp: paramiko.SFTPClient) -> float:
    began = time.perf_counter()
    sftp.stat("/")
    return time.perf_counter() - began


@contextlib.contextmanager
def _stock_client(at: Server) -> Iterator[paramiko.SSHClient]:
    import paramiko

    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect(
        "127.0.0.1",
        at.port,
        at.sshd.address.user,
        key_filename=str(at.keys.id),
        allow_agent=False,
        look_for_keys=False,
    )
    try:
        yield client
    finally:
        client.close()
