"""What the image's entrypoint writes about its start: where it is, or why it ended."""

from __future__ import annotations

import time
from pathlib import Path

# The entrypoint touches its note at least every few seconds: an older one is of a start that died.
FRESH_S = 120.0


def stage(workspace: Path) -> str | None:
    """What the start is doing; None when none is under way."""
    note = workspace / "run/video.starting"
    try:
        age_s = time.time() - note.stat().st_mtime
        said = note.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
    return (said or "starting") if age_s < FRESH_S else None


def is_over(workspace: Path) -> None:
    """Takes the notes away: the service listens."""
    for name in ("video.starting", "video.failed"):
        (workspace / "run" / name).unlink(missing_ok=True)


def failure(workspace: Path) -> str | None:
    """Why the last start ended; None when it did not."""
    try:
        said = (workspace / "run/video.failed").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return said.strip() or None
