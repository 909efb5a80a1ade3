"""The watchdog's folder in the workspace: one per machine, since volumes may be shared."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any

Json = dict[str, Any]


class Folder:
    """lease.json (what is wanted), status.json (what is), lock (who lives), log."""

    def __init__(self, machine_id: str, workspace: str | None = None) -> None:
        root = workspace or os.environ.get("GPUCTL_WORKSPACE") or "/workspace"
        self.workspace = Path(root)
        self.path = self.workspace / ".gpuctl" / "watchdog" / _safe(machine_id)
        self.lease = self.path / "lease.json"
        self.status = self.path / "status.json"
        self.lock = self.path / "lock"
        self.log = self.path / "log"

    def make(self) -> None:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)


def _safe(machine_id: str) -> str:
    if not machine_id or not all(letter.isalnum() or letter in "-_" for letter in machine_id):
        raise ValueError(f"not a machine id: {machine_id!r}")
    return machine_id


def read(path: Path) -> Json | None:
    """None when there is none, or nothing that could be read."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def write(path: Path, document: Json) -> None:
    """Readers see all of it or what was before. Raises OSError."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_text(json.dumps(document, indent=1), encoding="utf-8")
        os.replace(part, path)  # noqa: PTH105  the name says that it replaces
    finally:
        part.unlink(missing_ok=True)


def take(lock: Path) -> int | None:
    """The held lock, None while another process has it."""
    file = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        return None
    return file


def is_held(lock: Path) -> bool:
    """Whether some process has the lock."""
    if not lock.exists():
        return False
    file = take(lock)
    if file is None:
        return True
    os.close(file)
    return False
