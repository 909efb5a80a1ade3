"""The command line of the operator's own ssh: our key, our pins, never their known_hosts."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from gpuctl.errors import ConfigError, ConnectionFailed
from gpuctl.models import Machine, Pin
from gpuctl.services.connections import Connector

DIAL_LIMIT_S = 5.0
USER_KNOWN_HOSTS = "~/.ssh/known_hosts"


class Memory(Protocol):
    """The part of State that is needed here."""

    def machine(self, id_or_name: str) -> Machine | None: ...
    def pinned(self, machine_id: str) -> Pin | None: ...


def prepared(connector: Connector, memory: Memory, machine: Machine) -> Machine:
    """The machine with an address that answers and a host key that is pinned.

    Where either is doubtful, one connection of our own settles it by our rules: it reads a moved
    address again and accepts a new key only when a restart explains it. Raises ConnectionFailed,
    HostKeyChanged, CredentialsError, NotFound.
    """
    if _is_settled(memory.pinned(machine.id), machine):
        return machine
    connector.connect(machine).close()
    return memory.machine(machine.id) or machine


def _is_settled(pin: Pin | None, machine: Machine) -> bool:
    if pin is None:
        return False
    if machine.provider == "host":
        return True
    if machine.address is None or pin.address != str(machine.address):
        return False
    return pin.started_at == machine.started_at and _answers(machine)


def _answers(machine: Machine) -> bool:
    from gpuctl.remote import reachability  # noqa: PLC0415  only when something is dialled

    assert machine.address is not None
    try:
        reachability.dial(machine.address, DIAL_LIMIT_S).close()
    except ConnectionFailed:
        return False
    return True


def known_hosts(folder: Path, machine: Machine, pin: Pin) -> Path:
    """A known_hosts file of this machine alone (0600), replaced whole. Raises ConfigError."""
    from gpuctl.remote import host_keys  # noqa: PLC0415  with the first connection

    line = host_keys.known_hosts_line(machine.id, pin.key)
    if machine.provider == "host" and machine.address is not None:
        address = machine.address
        name = address.host if address.port == 22 else f"[{address.host}]:{address.port}"
        line = f"{name} {line.partition(' ')[2]}"
    file = folder / "known_hosts" / _file_name(machine.id)
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = file.with_name(f"{file.name}.{os.getpid()}.part")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
            out.write(line)
        part.replace(file)
    except OSError as error:
        raise ConfigError(
            f"{file} cannot be written: {error.strerror}",
            hint="make it and its folder writable, or set XDG_STATE_HOME to another folder",
        ) from error
    return file


def argv(
    machine: Machine,
    *,
    key: Path,
    pins: Path,
    command: Sequence[str] = (),
    terminal: bool = False,
) -> list[str]:
    """What to execute. Of `command` one word is a line for the machine's shell, as ssh has it;
    several are quoted, so that they arrive as they are."""
    words = ["ssh", *(["-t"] if terminal else [])]
    if machine.provider == "host":
        words += [*_host_options(pins), *_host(machine)]
    else:
        words += _pod_options(machine, key, pins)
    return [*words, *_command(command)]


def shown(words: Sequence[str]) -> str:
    """An argv as one would type it."""
    from gpuctl.remote import quoting  # noqa: PLC0415  only what reaches machines loads remote

    return quoting.join(words)


def _pod_options(machine: Machine, key: Path, pins: Path) -> list[str]:
    from gpuctl.remote import host_keys  # noqa: PLC0415  with the first connection

    address = machine.address
    assert address is not None
    identity = ["-i", str(key), "-o", "IdentitiesOnly=yes"] if key.is_file() else []
    return [
        *identity,
        *_options(
            f"HostKeyAlias={host_keys.alias(machine.id)}",
            f"UserKnownHostsFile={_quoted(pins)}",
            "GlobalKnownHostsFile=/dev/null",
            "StrictHostKeyChecking=yes",
            "UpdateHostKeys=no",
            "ServerAliveInterval=15",
        ),
        "-p",
        str(address.port),
        f"{address.user}@{address.host}",
    ]


def _host_options(pins: Path) -> list[str]:
    """~/.ssh/config says the rest; the user's known_hosts is read, and never written to."""
    return _options(
        f"UserKnownHostsFile={_quoted(pins)} {USER_KNOWN_HOSTS}",
        "StrictHostKeyChecking=yes",
        "UpdateHostKeys=no",
    )


def _host(machine: Machine) -> list[str]:
    """An alias as it was typed, so that ssh finds it in its configuration."""
    address = machine.address
    if "@" not in machine.id or address is None:
        return [machine.id]
    return ["-p", str(address.port), f"{address.user}@{address.host}"]


def _options(*options: str) -> list[str]:
    return [word for option in options for word in ("-o", option)]


def _quoted(path: Path) -> str:
    """As ssh_config reads a path: spaces need quotes, % starts a token."""
    return f'"{str(path).replace("%", "%%")}"'


def _command(command: Sequence[str]) -> list[str]:
    from gpuctl.remote import quoting  # noqa: PLC0415  likewise

    if not command:
        return []
    return ["--", command[0] if len(command) == 1 else quoting.join(command)]


def _file_name(machine_id: str) -> str:
    """Readable, and different for different ids."""
    plain = re.sub(r"[^\w.-]", "_", machine_id)
    return plain if plain == machine_id else f"{plain}-{_digest(machine_id)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
