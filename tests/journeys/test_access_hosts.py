"""Plain ssh hosts, with Debian's own sshd at the other end: exec, ssh, cp, connect."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.conftest import until
from tests.support.household import Household, ended, read_until
from tests.support.sshd import Keys, Sshd, make_keys, require_sshd

pytestmark = pytest.mark.sshd


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    require_sshd()
    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def sshd(keys: Keys) -> Iterator[Sshd]:
    daemon = Sshd(keys)
    yield daemon
    daemon.close()


@pytest.fixture
def home(tmp_path: Path, keys: Keys) -> Household:
    (tmp_path / "me/project").mkdir(parents=True)
    one = Household(tmp_path / "me")
    one.environ["SSH_KEY"] = str(keys.id)
    return one


@pytest.fixture
def host(sshd: Sshd) -> str:
    return str(sshd.address)


def ssh(home: Household, host: str, *command: str) -> list[str]:
    """The argv that would be executed, with the key that only a configuration would name."""
    key = home.environ["SSH_KEY"]
    argv: list[str] = home.types("--json", "--dry-run", "ssh", host, "--", *command).data["argv"]
    return [argv[0], "-i", key, "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", *argv[1:]]


@pytest.mark.parametrize("code", [0, 3, 137])
def test_exit_codes_streams_and_bytes_pass_through(home: Household, host: str, code: int) -> None:
    every = bytes(range(256)) * 3000
    script = f"cat; echo apart >&2; exit {code}"
    done = home.runs("exec", "--on", host, "--", "sh", "-c", script, stdin=every)
    assert (done.code, done.stdout) == (code, every)
    assert done.stderr == b"apart\n"


def test_a_signal_is_told_as_a_shell_would(home: Household, host: str) -> None:
    assert home.runs("exec", "--on", host, "--", "sh", "-c", "kill -9 $$").code == 137
    assert home.runs("exec", "--on", host, "--", "no-such-program").code == 127


def test_ctrl_c_ends_the_command_which_sshd_alone_would_not(home: Household, host: str) -> None:
    process = home.start("exec", "--on", host, "--", "sh", "-c", "echo pid $$; exec sleep 600")
    pid = int(read_until(process, "pid").split()[1])
    assert ended(process).code == 130
    until(lambda: not _is_alive(pid), "its end")


def test_ctrl_c_ends_a_command_of_this_computer(home: Household) -> None:
    process = home.start("exec", "--on", "local", "--", "sh", "-c", "echo pid $$; exec sleep 600")
    pid = int(read_until(process, "pid").split()[1])
    assert ended(process).code == 130
    until(lambda: not _is_alive(pid), "its end")


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_real_ssh_gets_in_with_the_pinned_key_and_refuses_another(
    home: Household, keys: Keys
) -> None:
    before = Sshd(keys)
    host, port = str(before.address), before.address.port
    try:
        argv = ssh(home, host, "echo in; exit 3")
        done = subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL, timeout=30)
    finally:
        before.close()
    assert (done.returncode, done.stdout) == (3, b"in\n"), done.stderr
    after = Sshd(keys, host_key="other_host", port=port)
    try:
        refused = subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL, timeout=30)
        ours = home.types("--json", "exec", "--on", host, "--", "true")
    finally:
        after.close()
    assert refused.returncode == 255
    assert b"verification failed" in refused.stderr
    assert (ours.code, ours.error["code"]) == (1, "host_key_changed")


def test_files_go_there_and_come_back(home: Household, host: str, tmp_path: Path) -> None:
    source = tmp_path / "ünï code"
    (source / "inner").mkdir(parents=True)
    (source / "inner/two\nlines").write_bytes(os.urandom(5000))
    (source / "link").symlink_to("inner")
    place = tmp_path / "there"
    up = home.types("--json", "cp", str(source), f"{host}:{place}")
    assert up.data["files"] == 1, up
    assert (place / "link").readlink() == Path("inner")
    down = home.types("--json", "cp", f"{host}:{place}", str(tmp_path / "back"))
    assert down.data["files"] == 1, down
    content = (source / "inner/two\nlines").read_bytes()
    assert (tmp_path / "back/inner/two\nlines").read_bytes() == content


def test_a_frozen_copy_goes_on_after_the_session_was_killed(
    home: Household, host: str, sshd: Sshd, tmp_path: Path
) -> None:
    """Slow: 64 MB."""
    source = tmp_path / "big"
    with source.open("wb") as out:
        for number in range(64):
            out.write(bytes([number]) * (1 << 20))
    place = tmp_path / "there"
    place.mkdir()
    process = home.start("cp", str(source), f"{host}:{place}/")
    until(lambda: _part(place) > 1 << 20, "the first megabyte")
    sshd.signal_sessions(signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert (place / "big").read_bytes() == source.read_bytes()


def _part(place: Path) -> int:
    return sum(file.stat().st_size for file in place.glob("big*"))


def test_connect_tries_a_host_and_wait_waits_for_it(home: Household, host: str) -> None:
    [found] = home.types("--json", "connect", host).data["machines"]
    assert found["checks"][2]["detail"].startswith("SSH-2.0-OpenSSH")
    assert home.types("wait", host, "--timeout", "20").code == 0
    gone = home.types("--json", "wait", "root@127.0.0.1:1", "--timeout", "0.2")
    assert (gone.code, gone.error["code"]) == (7, "timed_out")
    refused = home.types("--json", "connect", "root@127.0.0.1:1")
    assert (refused.code, refused.error["code"]) == (1, "unreachable")
    assert "port     FAILED" in home.types("connect", "root@127.0.0.1:1").stderr


def test_df_of_a_host_needs_no_gpu(home: Household, host: str) -> None:
    assert home.types("--json", "df", host).data["disks"][0]["total_bytes"] > 0


def test_this_computer_is_a_machine_too(home: Household) -> None:
    done = home.runs("exec", "--on", "local", "--", "sh", "-c", "cat; exit 5", stdin=b"\xff\x00")
    assert (done.code, done.stdout) == (5, b"\xff\x00")
    assert home.types("ssh", "local").code == 2
    (home.folder / "a").write_text("x")
    assert home.types("cp", "a", "local:sub/b").code == 0
    assert (home.home / ".gpuctl/sub/b").read_text() == "x"
