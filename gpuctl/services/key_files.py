"""What a private key file is, told from the file alone: kind, passphrase, permissions."""

from __future__ import annotations

import base64
import re
import stat
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(
    r"-----BEGIN (?P<kind>[A-Z0-9 ]*PRIVATE KEY)-----\s*(?P<body>.*?)-----END ", re.DOTALL
)
_MAGIC = b"openssh-key-v1\0"
_PEM_KINDS = {"RSA": "ssh-rsa", "EC": "ecdsa", "DSA": "ssh-dss"}
KNOWN_KINDS = ("ssh-ed25519", "ssh-rsa", "ecdsa", "private key")
KEY_LIMIT_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class KeyFile:
    """`kind` is the type as in authorized_keys (ssh-ed25519, …), 'private key' where PEM hides it.

    `public` is the key itself in base64 where the file tells it; `mode` the permission bits.
    """

    path: Path
    kind: str
    mode: int
    is_encrypted: bool = False
    public: str | None = None

    @property
    def is_private(self) -> bool:
        """Nobody but its owner may read it: ssh refuses any other key."""
        return self.mode & 0o077 == 0

    @property
    def is_usable(self) -> bool:
        return self.kind.startswith(KNOWN_KINDS)


def inspect(path: Path) -> KeyFile | None:
    """None when there is no private key in the file. Raises OSError when it cannot be read."""
    if not path.is_file() or path.stat().st_size > KEY_LIMIT_BYTES:
        return None
    text = path.read_bytes().decode("ascii", "replace")
    block = _BLOCK.search(text)
    if block is None:
        return None
    mode = stat.S_IMODE(path.stat().st_mode)
    if block["kind"] == "OPENSSH PRIVATE KEY":
        return _openssh(path, mode, block["body"])
    words = block["kind"].split()
    is_encrypted = "ENCRYPTED" in words or "Proc-Type: 4,ENCRYPTED" in block["body"]
    return KeyFile(path, _PEM_KINDS.get(words[0], "private key"), mode, is_encrypted)


def candidates(folder: Path) -> list[KeyFile]:
    """The private keys in `folder` that gpuctl can use, Ed25519 first. Unreadable ones are not."""
    found = []
    for path in sorted(folder.glob("*")) if folder.is_dir() else ():
        try:
            key = inspect(path)
        except OSError:
            continue
        if key is not None and key.is_usable:
            found.append(key)
    return sorted(found, key=lambda key: (key.is_encrypted, key.kind != "ssh-ed25519"))


def _openssh(path: Path, mode: int, body: str) -> KeyFile | None:
    """The OpenSSH format says cipher, kdf, options, count, and then the public key, in clear."""
    try:
        blob = base64.b64decode("".join(body.split()), validate=True)
        if not blob.startswith(_MAGIC):
            return None
        rest = blob[len(_MAGIC) :]
        cipher, rest = _field(rest)
        _, rest = _field(rest)
        _, rest = _field(rest)
        public, _ = _field(rest[4:])
        kind, _ = _field(public)
    except (ValueError, IndexError):
        return None
    return KeyFile(
        path,
        kind.decode("ascii", "replace"),
        mode,
        is_encrypted=cipher != b"none",
        public=base64.b64encode(public).decode(),
    )


def _field(data: bytes) -> tuple[bytes, bytes]:
    length = int.from_bytes(data[:4], "big")
    if len(data) < 4 + length:
        raise ValueError("cut off")
    return data[4 : 4 + length], data[4 + length :]
