"""Local files that a job needs, under names made from their content: nothing travels twice."""

from __future__ import annotations

import hashlib
from pathlib import Path

from gpuctl.errors import NotFound, UsageError

FOLDER = "inputs"


def content_name(path: Path) -> str:
    """inputs/<sha256><suffix>, relative to the machine's workspace. Raises NotFound, UsageError."""
    if not path.exists():
        raise NotFound(f"there is no file {path}")
    if not path.is_file():
        raise UsageError(f"{path} is not a file")
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    return f"{FOLDER}/{digest}{path.suffix.lower()}"
