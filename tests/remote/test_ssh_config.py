"""Plain hosts: what `--on` may say, and what ~/.ssh/config adds to it."""

from __future__ import annotations

import getpass
from pathlib import Path

import pytest

from gpuctl.errors import ConfigError, UsageError
from gpuctl.models import Address
from gpuctl.remote import ssh_config
from gpuctl.remote.ssh_config import Host

CONFIG = """\
Host box
  HostName 203.0.113.7
  User ubuntu
  Port 4022
  IdentityFile ~/.ssh/box
  IdentitiesOnly yes

Host inner
  ProxyJump ops@gate.example:2222

Host deep
  ProxyJump first,second

Host piped
  ProxyCommand nc %h %p

Host direct
  ProxyJump none

Host *.lab !secret.lab
  User student

Host *
  ServerAliveInterval 30
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config"
    path.write_text(CONFIG)
    return path


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("ubuntu@203.0.113.9", Address("203.0.113.9", 22, "ubuntu")),
        ("ubuntu@203.0.113.9:2022", Address("203.0.113.9", 2022, "ubuntu")),
        ("u@[2001:db8::1]:2022", Address("2001:db8::1", 2022, "u")),
        ("u@[2001:db8::1]", Address("2001:db8::1", 22, "u")),
        ("u@2001:db8::1", Address("2001:db8::1", 22, "u")),
        ("me@work@gate.example", Address("gate.example", 22, "me@work")),
        ("box.example", Address("box.example", 22, getpass.getuser())),
    ],
)
def test_an_address_is_read_as_ssh_reads_it(text: str, address: Address, tmp_path: Path) -> None:
    assert ssh_config.resolve(text, tmp_path / "none") == Host(address)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "u@",
        "@host",
        "u@host:",
        "u@host:ssh",
        "u@host:0",
        "u@host:70000",
        "u@[::1",
        "-oX",
        "a b",
    ],
)
def test_a_malformed_address_is_refused_with_the_forms_that_work(text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not an ssh address") as refused:
        ssh_config.resolve(text, tmp_path / "none")
    assert refused.value.hint == "write user@host, user@host:port, or user@[2001:db8::1]:port"


def test_an_alias_brings_its_host_user_port_and_key(config: Path, private_home: Path) -> None:
    assert ssh_config.resolve("box", config) == Host(
        Address("203.0.113.7", 4022, "ubuntu"),
        identity_files=(private_home / ".ssh/box",),
        identities_only=True,
    )


def test_what_is_typed_wins_over_the_file(config: Path) -> None:
    address = ssh_config.resolve("root@box:22022", config).address
    assert address == Address("203.0.113.7", 22022, "root")


def test_jumps_and_proxies_become_one_command(config: Path) -> None:
    inner = ssh_config.resolve("u@inner", config)
    assert inner.proxy_jump == "ops@gate.example:2222"
    assert inner.proxy_command == "ssh -W '[inner]:22' -p 2222 -- ops@gate.example"
    deep = ssh_config.resolve("u@deep:23", config)
    assert deep.proxy_command == "ssh -W '[deep]:23' -J first -- second"
    assert ssh_config.resolve("u@piped:23", config).proxy_command == "nc piped 23"
    assert ssh_config.resolve("u@direct", config).proxy_command is None


def test_an_alias_is_known_and_a_stranger_is_not(config: Path, tmp_path: Path) -> None:
    assert [ssh_config.knows(name, config) for name in ("box", "a.lab", "else", "*")] == [
        True,
        True,
        False,
        False,
    ]
    assert not ssh_config.knows("box", tmp_path / "none")


def test_a_file_that_ssh_would_refuse_is_named(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("Host\n???\n")
    with pytest.raises(ConfigError, match="cannot be read as an ssh configuration"):
        ssh_config.resolve("u@h", tmp_path / "config")


def test_a_match_exec_line_is_honoured(tmp_path: Path) -> None:
    text = 'Match exec "false"\n  Port 1\nMatch exec "test %h = h"\n  Port 4022\n'
    (tmp_path / "config").write_text(text)
    assert ssh_config.resolve("u@h", tmp_path / "config").address.port == 4022
