"""Moves finished artifacts to the network volume, the only thing that outlives the machine."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

HERE = "the workspace is on the network volume"
NOWHERE = "no network volume: what was not fetched is lost"


def rescue(
    workspace: Path, volume: str | None, machine_id: str, is_late: Callable[[], bool]
) -> str:
    """Copies every finished output under `volume`, and says what was done. Stops when late."""
    if not volume or not Path(volume).is_dir():
        return NOWHERE
    if Path(volume).resolve() in (workspace.resolve(), *workspace.resolve().parents):
        return HERE
    files = sorted((workspace / "jobs").glob("*/outputs/*"))
    wanted = [file for file in files if file.is_file() and file.suffix != ".part"]
    copied = 0
    for file in wanted:
        if is_late():
            break
        target = Path(volume) / "gpuctl-rescued" / machine_id / file.relative_to(workspace)
        try:
            copied += _copy(file, target)
        except OSError as error:
            return f"{copied} of {len(wanted)} files saved: {error}"
    return f"{copied} of {len(wanted)} files saved to {volume}/gpuctl-rescued/{machine_id}"


def _copy(source: Path, target: Path) -> int:
    if target.exists() and target.stat().st_size == source.stat().st_size:
        return 1
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    shutil.copyfile(source, part)
    part.replace(target)
    return 1
