"""One run for each of the client's ids, among all the workers that share a workspace."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

from worker.report import disk_full_named

FILE = "claim"
# RunPod forgets a job 24 hours after its submission (facts: runpod.md §4): no claim matters longer.
KEPT_S = 2 * 24 * 3600.0


def claim(directory: Path, queue_id: str) -> str:
    """Takes the job for RunPod's `queue_id`, and gives the id that has it.

    The same id may come again: RunPod gives a job to another worker when one died. Another id is
    a second submission of one that may have been lost on the way; it must not run.
    """
    with disk_full_named():
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / FILE
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            # Empty when its writer died between the two calls: then nobody runs it.
            return path.read_text(encoding="ascii", errors="replace") or queue_id
        with os.fdopen(file, "w", encoding="ascii") as stream:
            stream.write(queue_id)
    return queue_id


def release(directory: Path) -> None:
    """Removes what the job left, but for the claim."""
    for entry in directory.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        elif entry.name != FILE:
            entry.unlink(missing_ok=True)


def forget_old(jobs: Path, now: float | None = None) -> None:
    """Removes job folders in which nothing but an old claim is left."""
    oldest = (time.time() if now is None else now) - KEPT_S
    with suppress(OSError):  # another worker may be doing the same
        for directory in jobs.iterdir():
            if _is_stale(directory, oldest):
                shutil.rmtree(directory, ignore_errors=True)


def _is_stale(directory: Path, oldest: float) -> bool:
    path = directory / FILE
    if not path.is_file() or path.stat().st_mtime >= oldest:
        return False
    return [entry.name for entry in directory.iterdir()] == [FILE]
