"""Host keys: pins per machine id, lines for the real ssh, and the user's own known_hosts."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gpuctl.models import Address, Pin
from gpuctl.remote import host_keys
from gpuctl.remote.host_keys import Verdict
from tests.remote.conftest import Connect
from tests.support.sshd import Keys, Sshd

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPpZ0vOOm2zGr1dHGDR0hHxMWJfsZ0Ny0Zf8JbZkE7dW"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


def test_a_key_is_new_the_same_or_changed() -> None:
    pin = Pin("pod1", KEY, "root@203.0.113.7:4022", None)
    assert host_keys.judge(None, KEY) is Verdict.NEW
    assert host_keys.judge(pin, f"{KEY} root@pod") is Verdict.SAME
    assert host_keys.judge(pin, OTHER) is Verdict.CHANGED


def test_a_pinned_type_is_asked_for_once() -> None:
    assert host_keys.key_types(KEY, OTHER, "ssh-rsa AAAA") == ("ssh-ed25519", "ssh-rsa")


def test_the_fingerprint_is_the_one_that_ssh_keygen_prints(keys: Keys) -> None:
    public = keys.folder / "host.pub"
    printed = subprocess.run(
        ["ssh-keygen", "-lf", str(public)], capture_output=True, text=True, check=True
    )
    assert host_keys.fingerprint(public.read_text()) in printed.stdout.split()


@pytest.mark.sshd
def test_our_line_lets_the_real_ssh_in_by_the_machine_id(
    shared_sshd: Sshd, keys: Keys, tmp_path: Path
) -> None:
    lines = tmp_path / "known_hosts"
    lines.write_text(host_keys.known_hosts_line("pod1", shared_sshd.host_key))
    assert real_ssh(shared_sshd.address, keys, lines, "pod1").stdout == "in\n"
    refused = real_ssh(shared_sshd.address, keys, lines, "pod2")
    assert "No ED25519 host key is known for gpuctl-pod2" in refused.stderr


@pytest.mark.parametrize("hashed", [False, True])
@pytest.mark.parametrize("port", [22, 40022])
def test_the_keys_that_the_user_accepted_are_found_by_name_and_port(
    tmp_path: Path, hashed: bool, port: int
) -> None:
    path = tmp_path / "known_hosts"
    name = "box.example" if port == 22 else f"[box.example]:{port}"
    path.write_text(f"# mine\nelse.example {OTHER}\n{name} {KEY} comment\n")
    if hashed:
        subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(path)], check=True, capture_output=True)
        assert "box.example" not in path.read_text()
    assert host_keys.user_known_hosts("box.example", port, path) == {KEY}
    assert host_keys.user_known_hosts("box.example", 1, path) == set()


def test_a_user_without_the_file_knows_nobody(tmp_path: Path) -> None:
    assert host_keys.user_known_hosts("box.example", 22, tmp_path / "none") == set()


@pytest.mark.sshd
def test_a_type_that_is_known_is_shown_when_it_is_asked_for_first(
    connect: Connect, keys: Keys, tmp_path: Path
) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", str(keys.folder / "host_ecdsa")],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    seen: list[str] = []
    daemon = Sshd(keys, extra=f"HostKey {keys.folder}/host_ecdsa\n")
    try:
        connect(daemon, verify=seen.append)
        connect(daemon, verify=seen.append, host_key_types=("ecdsa-sha2-nistp256",))
    finally:
        daemon.close()
    assert [key.split()[0] for key in seen] == ["ssh-ed25519", "ecdsa-sha2-nistp256"]


def real_ssh(
    address: Address, keys: Keys, known_hosts: Path, machine_id: str
) -> subprocess.CompletedProcess[str]:
    options = {
        "UserKnownHostsFile": known_hosts,
        "HostKeyAlias": host_keys.alias(machine_id),
        "StrictHostKeyChecking": "yes",
        "IdentitiesOnly": "yes",
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    where = ["-p", str(address.port), "-i", str(keys.id), f"{address.user}@{address.host}"]
    command = ["ssh", "-F", "none", *words, *where, "echo in"]
    return subprocess.run(command, capture_output=True, text=True)
