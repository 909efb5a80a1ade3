"""Reads `--on` for a plain host: user@host[:port], or a name that ~/.ssh/config explains."""

from __future__ import annotations

import getpass
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from gpuctl.errors import ConfigError, UsageError
from gpuctl.models import Address
from gpuctl.remote import quoting

if TYPE_CHECKING:
    import paramiko

SSH_CONFIG = Path("~/.ssh/config")

# A ProxyCommand hands these to a shell; OpenSSH refuses the same characters.
_USER = re.compile(r"[^-\s'\"`$\\;&<>|(){}][^\s'\"`$\\;&<>|(){}]*")
_HOST = re.compile(r"[\w:][\w.:%-]*")


@dataclass(frozen=True, slots=True)
class Host:
    """How to reach one host. `proxy_command` is what ProxyCommand or ProxyJump amount to."""

    address: Address
    identity_files: tuple[Path, ...] = ()
    identities_only: bool = False
    proxy_jump: str | None = None
    proxy_command: str | None = None


def resolve(text: str, path: Path = SSH_CONFIG) -> Host:
    """`text` is [user@]host[:port]; IPv6 addresses with a port stand in brackets.

    What `text` says wins over the file. Raises UsageError, ConfigError.
    """
    user, name, port = split(text)
    options = _lookup(name, path, user, port)
    address = Address(
        host=str(options.get("hostname", name)),
        port=port or _port(str(options.get("port", "22")), path),
        user=user or str(options.get("user") or getpass.getuser()),
    )
    jump = _given(options, "proxyjump")
    command = _given(options, "proxycommand")
    if command is None and jump is not None:
        command = _jump_command(jump, address)
    files = options.get("identityfile", [])
    return Host(
        address,
        identity_files=tuple(Path(file).expanduser() for file in files),
        identities_only=str(options.get("identitiesonly", "no")).lower() == "yes",
        proxy_jump=jump,
        proxy_command=command,
    )


def knows(name: str, path: Path = SSH_CONFIG) -> bool:
    """Whether the file has a Host block for `name` that is not for everybody."""
    config = _read(path)
    if config is None:
        return False
    patterns = config.get_hostnames() - {"*"}
    return any(fnmatchcase(name, pattern) for pattern in patterns if not pattern.startswith("!"))


def split(text: str) -> tuple[str | None, str, int | None]:
    """(user, host, port) of `text`; None for what it leaves open. Raises UsageError."""
    user, at, rest = text.rpartition("@")
    host, port = rest, ""
    if rest.startswith("["):
        host, bracket, tail = rest[1:].partition("]")
        if not bracket or (tail and not tail.startswith(":")):
            raise _malformed(text)
        port = tail[1:]
    elif rest.count(":") == 1:
        host, _, port = rest.partition(":")
    if not _HOST.fullmatch(host) or (at and not _USER.fullmatch(user)):
        raise _malformed(text)
    if (rest.endswith(":") and rest.count(":") == 1) or (port and not port.isdecimal()):
        raise _malformed(text)
    if port and not 0 < int(port) < 65536:
        raise _malformed(text)
    return user or None, host, int(port) if port else None


def _lookup(
    name: str, path: Path, user: str | None, port: int | None
) -> Mapping[str, str | list[str]]:
    # The first value wins, also where it stands for %r and %p in a ProxyCommand.
    typed = "Host *\n" + (f"User {user}\n" if user else "") + (f"Port {port}\n" if port else "")
    config = _read(path, typed)
    if config is None:
        return {}
    from paramiko.ssh_exception import ConfigParseError  # noqa: PLC0415  as in _read

    try:
        return dict(config.lookup(name))
    except (ConfigParseError, KeyError, ValueError) as error:
        raise ConfigError(f"{path} cannot be applied to {name}: {error}") from error


def _read(path: Path, before: str = "") -> paramiko.SSHConfig | None:
    path = path.expanduser()
    if not path.exists():
        return None
    import paramiko  # noqa: PLC0415  100 ms, and only where there is such a file

    # paramiko would run `Match exec` through a library that reads the operator's stdin.
    paramiko.config.invoke = _MatchExec  # type: ignore[attr-defined]
    try:
        return paramiko.SSHConfig.from_text(before + path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, paramiko.ConfigParseError) as error:
        raise ConfigError(f"{path} cannot be read as an ssh configuration: {error}") from error


def _given(options: Mapping[str, str | list[str]], name: str) -> str | None:
    value = options.get(name)
    return value if isinstance(value, str) and value.lower() != "none" else None


def _port(text: str, path: Path) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise ConfigError(f"{path}: Port {text} is not a number") from error


def _jump_command(jump: str, address: Address) -> str:
    """The real ssh carries us through; a chain a,b goes through a to reach b, as -J does."""
    *before, last = jump.split(",")
    user, host, port = split(last.removeprefix("ssh://"))
    words = ["ssh", "-W", f"[{address.host}]:{address.port}"]
    if before:
        words += ["-J", ",".join(before)]
    if port is not None:
        words += ["-p", str(port)]
    return quoting.join([*words, "--", f"{user}@{host}" if user else host])


class _MatchExec:
    """What paramiko.config uses of its optional `invoke`: the verdict of a `Match exec` command."""

    def __init__(self, is_ok: bool) -> None:
        self.ok = is_ok

    @classmethod
    def run(cls, command: str, **_options: object) -> _MatchExec:
        nowhere = subprocess.DEVNULL
        done = subprocess.run(["sh", "-c", command], stdin=nowhere, stdout=nowhere, stderr=nowhere)
        return cls(done.returncode == 0)


def _malformed(text: str) -> UsageError:
    return UsageError(
        f"'{text}' is not an ssh address",
        hint="write user@host, user@host:port, or user@[2001:db8::1]:port",
    )
