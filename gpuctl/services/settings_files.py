"""Writes secrets into `.env` (0600), leaving everything else in it as it was."""

from __future__ import annotations

from pathlib import Path

from gpuctl.config import OTHER_NAMES, environment_name
from gpuctl.services import env_file


def env_name(key: str) -> str:
    """The vendor's own name for a key where there is one."""
    return next(
        (name for name, known in OTHER_NAMES.items() if known == key), environment_name(key)
    )


def set_in_env(path: Path, name: str, value: str) -> None:
    """Raises ConfigError when the file cannot be written."""
    env_file.write(path, {name: value})
