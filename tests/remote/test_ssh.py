"""What a connection to OpenSSH's own server promises: who gets in, and what a loss looks like."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpuctl.errors import ConnectionFailed, CredentialsError, HostKeyChanged
from gpuctl.models import Address
from gpuctl.remote import ssh
from gpuctl.remote.base import LOST
from gpuctl.remote.dialling import Dial
from tests.remote.conftest import Connect
from tests.support.sshd import Keys, Sshd, generate

pytestmark = pytest.mark.sshd


def test_a_key_that_is_not_authorised_is_refused_and_named(
    connect: Connect, shared_sshd: Sshd, keys: Keys
) -> None:
    with pytest.raises(CredentialsError) as refused:
        connect(shared_sshd, key=keys.stranger)
    assert refused.value.message == (
        f"{shared_sshd.address} accepted none of our keys; tried {keys.stranger}"
    )
    assert "ssh-copy-id" in (refused.value.hint or "")


def test_a_key_file_that_is_missing_is_named_with_its_configuration_key(
    connect: Connect, shared_sshd: Sshd, tmp_path: Path
) -> None:
    with pytest.raises(CredentialsError) as refused:
        connect(shared_sshd, key=tmp_path / "no_key")
    assert refused.value.message == f"the key file {tmp_path}/no_key (ssh.key) does not exist"
    assert refused.value.hint == (
        f"gpuctl config set ssh.key PATH, or make one: ssh-keygen -t ed25519 -f {tmp_path}/no_key"
    )


def test_a_key_with_a_passphrase_is_not_guessed_at_and_ssh_add_is_named(
    connect: Connect, shared_sshd: Sshd, tmp_path: Path
) -> None:
    generate(tmp_path / "locked", passphrase="secret")
    with pytest.raises(CredentialsError, match="protected by a passphrase") as refused:
        connect(shared_sshd, key=tmp_path / "locked")
    assert "ssh-add" in (refused.value.hint or "")


def test_a_file_that_is_no_key_says_so(connect: Connect, shared_sshd: Sshd, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hello")
    with pytest.raises(CredentialsError, match="not readable as a private key"):
        connect(shared_sshd, key=tmp_path / "key")


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_older_kinds_of_keys_open_the_machine_too(
    connect: Connect, sshd: Sshd, keys: Keys, tmp_path: Path, kind: str
) -> None:
    generate(tmp_path / "key", kind=kind)
    authorized = keys.folder / "authorized_keys"
    before = authorized.read_bytes()
    authorized.write_bytes(before + (tmp_path / "key.pub").read_bytes())
    try:
        assert connect(sshd, key=tmp_path / "key").run(["true"]).exit_code == 0
    finally:
        authorized.write_bytes(before)


@pytest.fixture
def agent(tmp_path: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An agent that holds two strangers and then the right key."""
    for name in ("one", "two"):
        generate(tmp_path / name)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    daemon = subprocess.Popen(["ssh-agent", "-D", "-a", str(tmp_path / "agent")], stdout=-3)
    wait_until((tmp_path / "agent").exists)
    for path in (tmp_path / "one", tmp_path / "two", keys.id):
        subprocess.run(["ssh-add", "-q", str(path)], check=True)
    yield
    daemon.kill()
    daemon.wait()


@pytest.mark.usefixtures("agent")
def test_the_agent_is_asked_when_the_key_file_does_not_fit(
    connect: Connect, shared_sshd: Sshd, keys: Keys
) -> None:
    shell = connect(shared_sshd, key=keys.stranger, use_agent=True)
    assert shell.run(["echo", "in"]).stdout == "in\n"


@pytest.mark.usefixtures("agent")
def test_the_agent_is_enough_where_there_is_no_key_file(
    connect: Connect, shared_sshd: Sshd, tmp_path: Path
) -> None:
    assert connect(shared_sshd, key=None, use_agent=True).run(["true"]).exit_code == 0
    missing = tmp_path / "missing"
    assert connect(shared_sshd, key=missing, use_agent=True).run(["true"]).exit_code == 0


def test_the_server_key_is_shown_before_anything_is_sent_and_a_refusal_ends_it(
    connect: Connect, shared_sshd: Sshd, keys: Keys
) -> None:
    seen = []

    def refuse(key: str) -> None:
        seen.append(key)
        raise HostKeyChanged("not the one that was pinned")

    with pytest.raises(HostKeyChanged, match="not the one that was pinned"):
        connect(shared_sshd, verify=refuse, key=keys.stranger)
    assert seen == [shared_sshd.host_key]


def test_another_host_key_on_the_same_address_is_seen_as_another_key(
    connect: Connect, keys: Keys
) -> None:
    seen: list[str] = []
    first = Sshd(keys)
    connect(first, verify=seen.append).close()
    first.close()
    second = Sshd(keys, host_key="other_host", port=first.address.port)
    connect(second, verify=seen.append).close()
    second.close()
    assert seen == [first.host_key, second.host_key]
    assert seen[0] != seen[1]


def test_a_port_where_nobody_listens_is_called_refused(keys: Keys) -> None:
    with pytest.raises(ConnectionFailed, match=r"^127.0.0.1 port 1 refused the connection$"):
        open_at(Address("127.0.0.1", 1), keys)


def test_a_server_that_says_nothing_is_given_up_in_time(keys: Keys) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(ConnectionFailed, match="and then fell silent"):
            open_at(Address("127.0.0.1", silent.getsockname()[1]), keys, connect_timeout_s=0.3)
        assert time.monotonic() - began < 10


def test_an_attempt_that_hangs_is_dropped_without_waiting_for_it() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = Address("127.0.0.1", full.getsockname()[1])
        waiting = [Dial(address, 5.0) for _ in range(4)]  # the kernel lets the last ones hang
        began = time.monotonic()
        for dial in waiting:
            dial.close()
        assert time.monotonic() - began < 4


def test_a_server_of_another_kind_is_recognised(keys: Keys) -> None:
    with socket.create_server(("127.0.0.1", 0)) as web:
        threading.Thread(target=answer_as_a_web_server, args=[web], daemon=True).start()
        with pytest.raises(ConnectionFailed, match="answers, but not as an ssh server"):
            open_at(Address("127.0.0.1", web.getsockname()[1]), keys)


def test_a_proxy_command_carries_the_connection(shared_sshd: Sshd, keys: Keys) -> None:
    port = shared_sshd.address.port
    relay = (
        f"{sys.executable} -c 'import socket,sys,threading,os;"
        f's=socket.create_connection(("127.0.0.1",{port}));'
        'threading.Thread(target=lambda:[s.sendall(d) for d in iter(lambda:os.read(0,65536),b"")],'
        "daemon=True).start();"
        '[os.write(1,d) for d in iter(lambda:s.recv(65536),b"")]\''
    )
    unused = Address("host.invalid", 22, shared_sshd.address.user)
    with open_at(unused, keys, proxy_command=relay) as shell:
        assert shell.run(["echo", "through"]).stdout == "through\n"


def test_the_connection_is_tuned_as_measured(connect: Connect, shared_sshd: Sshd) -> None:
    shell = connect(shared_sshd, window_bytes=8 << 20)
    sock = shell.transport.sock
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
    assert shell.transport.local_cipher == "aes128-gcm@openssh.com"
    assert shell.transport.default_window_size == 8 << 20
    assert shell.transport.local_compression == "none"


def test_a_frozen_machine_is_noticed_within_the_silence_limit(connect: Connect, sshd: Sshd) -> None:
    shell = connect(sshd, keepalive_s=0.3, silence_limit_s=1.0)
    process = shell.start(["sh", "-c", "echo started; sleep 15"])
    lines = process.lines()
    assert next(lines) == "started"
    sshd.signal_sessions(signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(ConnectionFailed, match=r"nothing was heard for 1 s"):
        next(lines)
    assert 0.5 < time.monotonic() - began < 4
    assert process.wait() == LOST
    sshd.signal_sessions(signal.SIGCONT)


def test_a_machine_that_freezes_during_an_upload_is_noticed_too(
    connect: Connect, sshd: Sshd, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    with source.open("wb") as file:
        file.truncate(200 << 20)
    shell = connect(sshd, keepalive_s=0.3, silence_limit_s=1.0)

    def freeze(done: int, total: int) -> None:
        if done == 4 << 20:
            sshd.signal_sessions(signal.SIGSTOP)

    with pytest.raises(ConnectionFailed, match="nothing was heard for 1 s"):
        shell.put(source, str(tmp_path / "target"), on_bytes=freeze)
    sshd.signal_sessions(signal.SIGCONT)
    assert not (tmp_path / "target").exists()


def test_a_quiet_command_on_a_live_machine_outlasts_the_silence_limit(
    connect: Connect, shared_sshd: Sshd
) -> None:
    shell = connect(shared_sshd, keepalive_s=0.2, silence_limit_s=0.8)
    assert shell.run(["sh", "-c", "sleep 2; echo still here"]).stdout == "still here\n"


def test_a_command_whose_connection_is_killed_is_lost_and_never_failed(
    connect: Connect, sshd: Sshd
) -> None:
    shell = connect(sshd)
    process = shell.start(["sh", "-c", "echo started; sleep 15"])
    lines = process.lines()
    assert next(lines) == "started"
    sshd.signal_sessions(signal.SIGKILL)
    with pytest.raises(ConnectionFailed, match="was lost: the other side closed it"):
        next(lines)
    assert process.wait() == LOST
    with pytest.raises(ConnectionFailed):
        shell.start(["true"])


def test_a_run_whose_connection_is_killed_is_lost(connect: Connect, sshd: Sshd) -> None:
    shell = connect(sshd)
    killer = threading.Timer(0.4, sshd.signal_sessions, [signal.SIGKILL])
    killer.start()
    assert shell.run(["sleep", "15"]).exit_code == LOST
    killer.join()


def test_a_download_cut_in_the_middle_resumes_to_the_same_bytes(
    connect: Connect, sshd: Sshd, tmp_path: Path
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(24 << 20))
    announced = hashlib.sha256(source.read_bytes()).hexdigest()

    def cut(done: int, total: int) -> None:
        if done > 8 << 20:
            sshd.signal_sessions(signal.SIGKILL)

    with pytest.raises(ConnectionFailed):
        connect(sshd).get(str(source), target, size=24 << 20, sha256=announced, on_bytes=cut)
    kept = target.with_name("target.part").stat().st_size
    assert 8 << 20 < kept < 24 << 20
    seen: list[int] = []
    connect(sshd).get(
        str(source),
        target,
        size=24 << 20,
        sha256=announced,
        on_bytes=lambda done, total: seen.append(done),
    )
    assert target.read_bytes() == source.read_bytes()
    assert seen[0] > kept


def test_an_upload_cut_in_the_middle_leaves_no_target_and_resumes(
    connect: Connect, sshd: Sshd, tmp_path: Path
) -> None:
    source, target = tmp_path / "source", tmp_path / "there" / "target"
    source.write_bytes(os.urandom(40 << 20))

    def cut(done: int, total: int) -> None:
        if done == 20 << 20:
            sshd.signal_sessions(signal.SIGKILL)

    with pytest.raises(ConnectionFailed):
        connect(sshd).put(source, str(target), on_bytes=cut)
    assert not target.exists()
    (part,) = wait_for_still_files(target.parent)
    kept = part.stat().st_size
    assert 0 < kept < 40 << 20
    seen: list[int] = []
    connect(sshd).put(source, str(target), on_bytes=lambda done, total: seen.append(done))
    assert target.read_bytes() == source.read_bytes()
    assert seen[0] > kept
    assert list(target.parent.iterdir()) == [target]


def test_a_listing_goes_over_sftp(connect: Connect, shared_sshd: Sshd, tmp_path: Path) -> None:
    (tmp_path / "one").write_text("1")
    with connect(shared_sshd).sftp() as sftp:
        assert sftp.listdir(str(tmp_path)) in (["one", "home"], ["home", "one"])
        assert sftp.stat(str(tmp_path / "one")).st_size == 1


def test_loading_paramiko_does_not_load_invoke() -> None:
    program = (
        "import sys; from gpuctl.remote import ssh; assert 'paramiko' not in sys.modules;"
        "ssh._import_paramiko(); assert 'paramiko' in sys.modules; print('invoke' in sys.modules);"
        "import invoke; print(invoke.__name__)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("False\ninvoke\n", "")


def open_at(address: Address, keys: Keys, **changes: object) -> ssh.SshShell:
    options: dict[str, object] = {"connect_timeout_s": 5.0, "keepalive_s": 15, **changes}
    return ssh.connect(
        address,
        key=keys.id,
        verify=lambda key: None,
        silence_limit_s=60.0,
        window_bytes=4 << 20,
        use_agent=False,
        **options,  # type: ignore[arg-type]
    )


def answer_as_a_web_server(listener: socket.socket) -> None:
    sock, _ = listener.accept()
    with sock:
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
        sock.recv(4096)


def wait_until(is_so: object, limit_s: float = 10.0) -> None:
    assert callable(is_so)
    deadline = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def wait_for_still_files(folder: Path) -> list[Path]:
    """The files of `folder` once the orphaned remote command has ended and none grows any more."""
    assert re.fullmatch(r"/.*", str(folder))
    pattern = str(folder)

    def nobody_writes() -> bool:
        return (
            pattern
            not in subprocess.run(
                ["ps", "-eo", "args"], capture_output=True, text=True, check=True
            ).stdout
        )

    wait_until(nobody_writes)
    return list(folder.iterdir())
