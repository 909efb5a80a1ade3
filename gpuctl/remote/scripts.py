"""What runs on the machine: the bundle of remote_scripts, named by its content, sent once."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from gpuctl.errors import GpuctlError, MissingDependency, TransferFailed
from gpuctl.remote.base import Completed, Shell
from gpuctl.remote.quoting import with_workspace
from gpuctl.resources import bundled

NOT_SHIPPED = 75
"""Exit code of a command whose scripts are not on the machine yet (EX_TEMPFAIL)."""
NO_PYTHON = 76

_NOT_SHIPPED_MARK = "gpuctl: these scripts are not here yet"
# `models`: weights that an image is built with; a machine has its own.
_LEFT_OUT = frozenset({"__pycache__", "tests", "models"})
# 1980: tar warns of anything that looks older.
_MTIME = 315_532_800

# Without site (-S) python3 starts in half the time; these verbs need the standard library only.
_RUN = f"""\
S=$W/.gpuctl/scripts/$1/run.py; shift
[ -f "$S" ] || {{ echo "{_NOT_SHIPPED_MARK}" >&2; exit {NOT_SHIPPED}; }}
command -v python3 >/dev/null || {{ echo "gpuctl: no python3" >&2; exit {NO_PYTHON}; }}
case $1 in submit|attach|cancel|stop) exec python3 -B -S "$S" "$@";; esac
exec python3 -B "$S" "$@"
"""

# rename(2) refuses to replace a folder that is not empty: of two that ship at once one wins, and
# neither ever sees half a bundle. `mv` would put one inside the other.
_SHIP = f"""\
umask 077
command -v python3 >/dev/null || {{ echo "gpuctl: no python3" >&2; exit {NO_PYTHON}; }}
F=$W/.gpuctl/scripts/$1; T=$F.$$.part
mkdir -p -- "$T" && tar -xzof - -C "$T" || {{ rm -rf -- "$T"; exit 74; }}
python3 -c 'import os, sys; os.rename(*sys.argv[1:])' "$T" "$F" 2>/dev/null || rm -rf -- "$T"
[ -f "$F/run.py" ]
"""


@dataclass(frozen=True)
class Bundle:
    """run.py, the worker and one workload's folder: relative path → content, sorted."""

    files: dict[str, bytes]

    @cached_property
    def hash(self) -> str:
        """16 hexadecimal digits over paths and contents."""
        digest = hashlib.sha256()
        for name, content in self.files.items():
            digest.update(f"{name}\0{len(content)}\0".encode())
            digest.update(content)
        return digest.hexdigest()[:16]

    def archive(self) -> bytes:
        """The same .tar.gz for the same files, whenever and wherever it is made."""
        buffer = io.BytesIO()
        with (
            gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as zipped,
            tarfile.open(fileobj=zipped, mode="w", format=tarfile.USTAR_FORMAT) as archive,
        ):
            for name, content in self.files.items():
                entry = tarfile.TarInfo(name)
                entry.size, entry.mtime, entry.mode = len(content), _MTIME, 0o644
                archive.addfile(entry, io.BytesIO(content))
        return buffer.getvalue()


@cache
def installed(workload: str) -> Bundle:
    """The bundle of this installation, read once per process."""
    return bundle(workload)


def bundle(workload: str, root: Path | None = None) -> Bundle:
    """What `workload` needs on the machine, from this installation."""
    root = bundled("remote_scripts") if root is None else root
    paths = [root / "run.py"]
    for folder in ("worker", workload):
        paths += [path for path in (root / folder).rglob("*") if path.is_file()]
    names = {path.relative_to(root): path for path in paths}
    kept = sorted(name.as_posix() for name in names if not _LEFT_OUT.intersection(name.parts))
    return Bundle({name: (root / name).read_bytes() for name in kept})


def remote_command(
    workload: str, verb: str, args: list[str], *, workspace: str | None, hash: str
) -> list[str]:
    """The argv of one verb of run.py. It ends with NOT_SHIPPED where the bundle is missing."""
    return with_workspace(workspace, _RUN, hash, verb, workload, *args)


def ship(shell: Shell, scripts: Bundle, *, workspace: str | None) -> None:
    """Puts the bundle on the machine, whole or not at all, and harmlessly twice.

    Raises TransferFailed, MissingDependency, ConnectionFailed.
    """
    argv = with_workspace(workspace, _SHIP, scripts.hash)
    completed = shell.run(argv, stdin=scripts.archive(), timeout_s=300)
    if completed.exit_code != 0:
        raise failure(completed) or TransferFailed(
            f"the scripts could not be put on the machine: {_reason(completed)}"
        )


def is_missing(exit_code: int, stderr: str) -> bool:
    """Whether a command ended because its scripts are not on the machine."""
    return exit_code == NOT_SHIPPED and _NOT_SHIPPED_MARK in stderr


def failure(completed: Completed) -> GpuctlError | None:
    """What the shell lines around run.py can say themselves; None when it was something else."""
    if completed.exit_code == NO_PYTHON and "gpuctl: no python3" in completed.stderr:
        return MissingDependency(
            "there is no python3 on the machine", hint="apt-get install -y python3, on the machine"
        )
    if completed.exit_code == 73:
        return TransferFailed(
            "no workspace can be made on the machine", hint="set remote.workspace to a folder there"
        )
    return None


def _reason(completed: Completed) -> str:
    return completed.stderr.strip() or f"exit code {completed.exit_code}"
