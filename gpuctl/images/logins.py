"""A folder for one login: readable by us alone, and gone afterwards whatever happens."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = "gpuctl-login-"


@contextmanager
def folder() -> Iterator[Path]:
    """Empty, 0700. What a killed gpuctl could not remove is removed here."""
    _sweep()
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-") as name:
        yield Path(name)


def _sweep() -> None:
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        owner = re.match(rf"{_PREFIX}(\d+)-", left.name)
        is_ours = left.is_dir() and not left.is_symlink() and left.stat().st_uid == os.getuid()
        if owner and is_ours and not Path(f"/proc/{owner[1]}").exists() and _has_proc():
            shutil.rmtree(left, ignore_errors=True)


def _has_proc() -> bool:
    """Without /proc nobody can say whether the owner lives: then nothing is removed."""
    return Path(f"/proc/{os.getpid()}").exists()
