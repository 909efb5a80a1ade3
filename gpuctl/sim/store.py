"""The simulator's memory: one JSON file, replaced whole, so that a killed one comes back."""

from __future__ import annotations

import json
import os
from pathlib import Path

from gpuctl.models import Json

SIM_FILE = "sim.json"
"""Where a running simulator says its port, key and process id."""


def write_json(path: Path, document: Json) -> None:
    """Owner-only from the first byte; readers see the old or the new file, never half of one."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        json.dump(document, stream, indent=1)
    scratch.replace(path)


def read_json(path: Path) -> Json | None:
    """None when the file is missing or is not a JSON object."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return document if isinstance(document, dict) else None
