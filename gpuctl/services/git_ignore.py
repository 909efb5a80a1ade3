"""Whether git would carry a file away, and the line that stops it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Literal

from gpuctl.errors import ConfigError

# `none`: no repository here; `unknown`: git is not installed or does not answer.
GitState = Literal["none", "ignored", "exposed", "tracked", "unknown"]
GIT_LIMIT_S = 10.0


def state(folder: Path, name: str) -> GitState:
    """What git would do with the file `name` in `folder`, whether or not it exists."""
    if not any((parent / ".git").exists() for parent in (folder, *folder.parents)):
        return "none"
    try:
        if _git(folder, "ls-files", "--error-unmatch", "--", name) == 0:
            return "tracked"
        ignored = _git(folder, "check-ignore", "-q", "--", name)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return {0: "ignored", 1: "exposed"}.get(ignored, "unknown")  # type: ignore[return-value]


def ignore(folder: Path, name: str) -> Path:
    """Adds `/name` to the folder's .gitignore and gives back that file. Raises ConfigError."""
    path = folder / ".gitignore"
    try:
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        gap = "" if not before or before.endswith("\n") else "\n"
        with path.open("a", encoding="utf-8") as out:
            out.write(f"{gap}/{name}\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot write {path}: {error}") from error
    return path


def _git(folder: Path, *argv: str) -> int:
    done = subprocess.run(
        ["git", *argv], cwd=folder, capture_output=True, timeout=GIT_LIMIT_S, check=False
    )
    return done.returncode
