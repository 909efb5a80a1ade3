"""Writes secrets into `.env` (0600), leaving everything else in it as it was."""

from __future__ import annotations

import os
from pathlib import Path

from gpuctl.config import OTHER_NAMES, environment_name
from gpuctl.errors import ConfigError


def env_name(key: str) -> str:
    """The vendor's own name for a key where there is one."""
    return next(
        (name for name, known in OTHER_NAMES.items() if known == key), environment_name(key)
    )


def set_in_env(path: Path, name: str, value: str) -> None:
    """Raises ConfigError when the file cannot be written."""
    import dotenv  # noqa: PLC0415  only for the commands that write

    try:
        if not path.exists():
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600))
        path.chmod(0o600)
        dotenv.set_key(path, name, value)
        path.chmod(0o600)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error
