"""Which host key a machine may show: pins per machine id, and what the user's own ssh knows."""

from __future__ import annotations

import base64
import hashlib
from enum import Enum
from pathlib import Path

from gpuctl.errors import ConfigError
from gpuctl.models import Pin

KNOWN_HOSTS = Path("~/.ssh/known_hosts")


class Verdict(Enum):
    """What a presented key is, beside the pin. Only SAME may be entered without asking on."""

    NEW = "new"
    SAME = "same"
    CHANGED = "changed"


def judge(pin: Pin | None, key: str) -> Verdict:
    """Compares `key` ("<type> <base64>", a comment may follow) with what was pinned."""
    if pin is None:
        return Verdict.NEW
    return Verdict.SAME if key.split()[:2] == pin.key.split()[:2] else Verdict.CHANGED


def fingerprint(key: str) -> str:
    """SHA256:… as `ssh-keygen -l` prints it, for messages."""
    blob = base64.b64decode(key.split()[1])
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def alias(machine_id: str) -> str:
    """The name of a machine for `ssh -o HostKeyAlias=…`: addresses are reused, ids are not."""
    return f"gpuctl-{machine_id}"


def known_hosts_line(machine_id: str, key: str) -> str:
    """One line of a known_hosts file of our own, never of the user's."""
    kind, blob = key.split()[:2]
    return f"{alias(machine_id)} {kind} {blob}\n"


def key_types(*keys: str) -> tuple[str, ...]:
    """The types to ask a server for first, so that it shows the key that is known."""
    return tuple(dict.fromkeys(key.split()[0] for key in keys))


def user_known_hosts(host: str, port: int, path: Path = KNOWN_HOSTS) -> set[str]:
    """Every key that the user's ssh has accepted for this host, hashed names included.

    Raises ConfigError when the file cannot be read.
    """
    path = path.expanduser()
    if not path.exists():
        return set()
    import paramiko  # noqa: PLC0415  100 ms, and only for plain hosts

    name = host if port == 22 else f"[{host}]:{port}"
    try:
        found = paramiko.HostKeys(str(path)).lookup(name)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    keys = found.values() if found is not None else ()
    return {f"{key.get_name()} {key.get_base64()}" for key in keys}
