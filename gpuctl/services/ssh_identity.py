"""The operator's SSH key: its public half for machines, and one of its own for the simulator."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from gpuctl.errors import MissingDependency, NotFound


def public_line(key: Path) -> str:
    """The public key of a private key file, as one authorized_keys line.

    Read from `<key>.pub`, else derived by ssh-keygen. Raises NotFound, MissingDependency.
    """
    public = key.with_name(key.name + ".pub")
    if public.is_file():
        return public.read_text(encoding="utf-8").strip()
    if not key.is_file():
        raise NotFound(
            f"there is no SSH key at {key}",
            hint=f"make one: ssh-keygen -t ed25519 -f {key}   (or set ssh.key to another)",
        )
    try:
        done = subprocess.run(
            ["ssh-keygen", "-y", "-P", "", "-f", str(key)], capture_output=True, text=True
        )
    except FileNotFoundError as error:
        raise MissingDependency(
            "ssh-keygen is not installed", hint="apt install openssh-client"
        ) from error
    if done.returncode != 0:
        raise NotFound(
            f"{public} is missing and cannot be derived: {done.stderr.strip()}",
            hint=f"ssh-keygen -y -f {key} > {public}",
        )
    return done.stdout.strip()


def own_key(path: Path) -> Path:
    """An Ed25519 key at `path` (0600), made on first use together with its public half."""
    if path.is_file():
        return path
    from cryptography.hazmat.primitives import serialization as forms  # noqa: PLC0415  once ever
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
        Ed25519PrivateKey,
    )

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        forms.Encoding.PEM, forms.PrivateFormat.OpenSSH, forms.NoEncryption()
    )
    public = key.public_key().public_bytes(forms.Encoding.OpenSSH, forms.PublicFormat.OpenSSH)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(path.name + ".pub").write_bytes(public + b" gpuctl\n")
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out:
        out.write(private)
    temporary.replace(path)
    return path
