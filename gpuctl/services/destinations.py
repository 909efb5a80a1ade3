"""Where results land on this computer, checked before anything is started."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from gpuctl.errors import UsageError

LEAST_FREE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Destination:
    """A folder, and the file name where one was asked for."""

    folder: Path
    name: str | None = None

    def path(self, stem: str, suffix: str, *, index: int = 0, count: int = 1) -> Path:
        """A file that does not exist yet, or the one that was asked for by name."""
        if self.name is None:
            return _free(self.folder / f"{stem}.{suffix}")
        asked = Path(self.name)
        return self.folder / (asked if count == 1 else f"{asked.stem}-{index + 1}{asked.suffix}")


def plan(out: str | None, default_folder: Path, formats: tuple[str, ...]) -> Destination:
    """`--out` as a file (it has one of the known suffixes) or as a folder; else the default."""
    if out is None:
        return Destination(default_folder.expanduser())
    path = Path(out).expanduser()
    if out.endswith(("/", os.sep)) or path.is_dir() or not path.suffix:
        return Destination(path)
    if path.suffix[1:].lower().replace("jpeg", "jpg") not in formats:
        raise UsageError(
            f"--out {out}: '{path.suffix}' is not a format that it makes",
            hint=f"use {', '.join(formats)}",
        )
    return Destination(path.parent, path.name)


def check(destination: Destination) -> None:
    """Whether the result will fit there, before anything is started. Makes nothing.

    Raises UsageError.
    """
    nearest = destination.folder.absolute()
    while not nearest.exists():
        nearest = nearest.parent
    if not nearest.is_dir():
        raise UsageError(f"{nearest} is not a folder", hint="choose another with --out")
    if not os.access(nearest, os.W_OK):
        raise UsageError(f"{nearest} cannot be written", hint="choose another with --out")
    if shutil.disk_usage(nearest).free < LEAST_FREE_BYTES:
        raise UsageError(
            f"{nearest} has less than {LEAST_FREE_BYTES // 1024**2} MB free",
            hint="make room, or choose another disk with --out",
        )


def prepare(destination: Destination) -> None:
    """Makes the folder. Raises UsageError."""
    try:
        destination.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"cannot make the folder {destination.folder}: {error.strerror}",
            hint="choose another with --out",
        ) from error


def _free(path: Path) -> Path:
    candidate, number = path, 2
    while candidate.exists():
        candidate = path.with_name(f"{path.stem}-{number}{path.suffix}")
        number += 1
    return candidate
