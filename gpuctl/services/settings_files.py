"""Writes secrets into `.env` (0600), leaving everything else in it as it was."""

from __future__ import annotations

from pathlib import Path

from gpuctl.config import OTHER_NAMES, environment_name
from gpuctl.config_files import dotenv_entries
from gpuctl.services import env_file


def env_name(key: str) -> str:
    """The vendor's own name for a key where there is one."""
    return next(
        (name for name, known in OTHER_NAMES.items() if known == key), environment_name(key)
    )


def names_for(path: Path, key: str) -> list[str]:
    """The names that a value of `key` must be given in the file at `path`.

    Those that stand there: an older alias further up would win over a new name (config.load).
    Else the vendor's own. Raises ConfigError for a file that cannot be read.
    """
    there = dotenv_entries(path) if path.is_file() else {}
    aliases = [environment_name(key), *(name for name, one in OTHER_NAMES.items() if one == key)]
    return [name for name in there if name in aliases] or [env_name(key)]


def set_in_env(path: Path, key: str, value: str) -> None:
    """Raises ConfigError when the file cannot be read or written."""
    env_file.write(path, dict.fromkeys(names_for(path, key), value))
