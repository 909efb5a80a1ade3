"""paramiko's re-key dead-lock (performance.md §4.3): our connections outlast it, its own do not."""

from __future__ import annotations

import pytest

from gpuctl.errors import ConnectionFailed
from gpuctl.remote import ssh
from gpuctl.remote.base import LOST
from tests.remote.conftest import Connect
from tests.support.sshd import Sshd

pytestmark = pytest.mark.sshd

_STOCK_REKEY_BYTES = 1 << 29


def test_paramiko_still_has_the_limit_that_we_lift(connect: Connect, shared_sshd: Sshd) -> None:
    from paramiko.packet import Packetizer

    packets = connect(shared_sshd).transport.packetizer
    assert Packetizer.REKEY_BYTES == _STOCK_REKEY_BYTES
    assert packets.REKEY_BYTES == 1 << 40
    assert packets.REKEY_PACKETS == 1 << 31


def test_a_stream_past_half_a_gigabyte_arrives_whole(connect: Connect, shared_sshd: Sshd) -> None:
    # Exactly 512 MiB is where the stock library failed 3 times of 3. Slow: the bytes are real.
    shell = connect(shared_sshd)
    assert pull(shell, _STOCK_REKEY_BYTES) == (_STOCK_REKEY_BYTES, 0)
    assert shell.run(["echo", "alive"]).stdout == "alive\n"
    assert not shell.transport.packetizer.need_rekey()


def test_with_the_limit_scaled_down_the_dead_lock_is_there(
    connect: Connect, shared_sshd: Sshd
) -> None:
    """Why the setting exists: a re-key each 1 MB and many short commands (a resident connection
    fetching picture after picture) kill a connection within some 5 to 30 of them. The wait for
    itself is cut from 30 s to 1 s. When this fails, paramiko was mended and the setting can go."""
    shell = connect(shared_sshd)
    packets = shell.transport.packetizer
    packets.REKEY_BYTES = 1 << 20
    shell.transport.clear_to_send_timeout = 1.0
    for _ in range(300):
        try:
            if pull(shell, 300_000) != (300_000, 0):
                return
        except ConnectionFailed:
            return
    pytest.fail("300 commands and some 85 re-keys passed: the dead-lock seems to be mended")


def pull(shell: ssh.SshShell, size: int) -> tuple[int, int]:
    """(bytes that arrived, exit code) of a command that prints `size` zeros."""
    process = shell.start(["head", "-c", str(size), "/dev/zero"])
    process.close_stdin()
    received = 0
    try:
        while chunk := process.read():
            received += len(chunk)
        return received, process.wait()
    except ConnectionFailed:
        return received, LOST
    finally:
        process.close()
