"""Puts the worker's scripts on a machine before the first job does."""

from __future__ import annotations

from dataclasses import dataclass

from gpuctl.remote import scripts
from gpuctl.remote.base import Shell
from gpuctl.remote.quoting import with_workspace

_WHERE = 'F=$W/.gpuctl/scripts/$1; printf %s "$F"; [ -f "$F/run.py" ]'


@dataclass(frozen=True, slots=True)
class Uploaded:
    """Where the scripts of a workload are, and whether they had to be sent. Sizes in bytes."""

    workload: str
    hash: str
    path: str
    files: int
    bytes: int
    was_there: bool


def upload(shell: Shell, workload: str, *, workspace: str | None) -> Uploaded:
    """Idempotent: the folder is named by its content. Raises what `scripts.ship` raises."""
    bundle = scripts.bundle(workload)
    seen = shell.run(with_workspace(workspace, _WHERE, bundle.hash))
    was_there = seen.exit_code == 0
    if not was_there:
        scripts.ship(shell, bundle, workspace=workspace)
    size = sum(map(len, bundle.files.values()))
    return Uploaded(workload, bundle.hash, seen.stdout, len(bundle.files), size, was_there)
