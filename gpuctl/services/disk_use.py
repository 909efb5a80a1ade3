"""How full a machine is, and with what."""

from __future__ import annotations

from dataclasses import dataclass

from gpuctl.errors import ConnectionFailed, TransferFailed
from gpuctl.remote import probes
from gpuctl.remote.base import Completed, Shell
from gpuctl.remote.quoting import with_workspace

WARN_PERCENT = 90
MOST_FOLDERS = 10
# A network volume with a hundred thousand files takes its time.
DU_LIMIT_S = 60.0
# A network volume shows the whole cluster behind it; its own quota cannot be seen from inside.
SHARED_FROM_BYTES = 50 << 40


@dataclass(frozen=True, slots=True)
class Space:
    """One file system. `is_shared`: the sizes are of a cluster, not of what was rented."""

    name: str
    path: str
    total_bytes: int
    free_bytes: int
    is_shared: bool = False

    @property
    def used_bytes(self) -> int:
        return self.total_bytes - self.free_bytes

    @property
    def percent(self) -> int:
        return round(100 * self.used_bytes / self.total_bytes) if self.total_bytes else 0


@dataclass(frozen=True, slots=True)
class Folder:
    path: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Use:
    """`folders`: the biggest of the workspace, None when measuring took too long."""

    workspace: str
    spaces: tuple[Space, ...]
    workspace_bytes: int | None
    folders: tuple[Folder, ...] | None


def measure(shell: Shell, workspace: str | None) -> Use:
    """Raises ConnectionFailed, TransferFailed when there is no workspace."""
    found = shell.run(with_workspace(workspace, 'printf %s "$W"'))
    if found.exit_code != 0:
        raise TransferFailed(f"no workspace can be made on the machine: {found.stderr.strip()}")
    root = found.stdout
    on_volume, on_container = probes.disk(root).ask(shell), probes.disk("/").ask(shell)
    spaces = [_space("workspace", root, on_volume)]
    if on_container.mounted_on != on_volume.mounted_on:
        spaces.append(_space("container", "/", on_container))
    folders = _folders(shell, root)
    if folders is None:
        return Use(root, tuple(spaces), None, None)
    whole = next((one.bytes for one in folders if one.path == root), None)
    inner = sorted((one for one in folders if one.path != root), key=lambda one: -one.bytes)
    return Use(root, tuple(spaces), whole, tuple(inner[:MOST_FOLDERS]))


def _space(name: str, path: str, disk: probes.Disk) -> Space:
    is_shared = disk.total_bytes >= SHARED_FROM_BYTES
    return Space(name, path, disk.total_bytes, disk.free_bytes, is_shared)


def _folders(shell: Shell, root: str) -> list[Folder] | None:
    probe = probes.Probe(("du", "-xk", "-d", "2", "--", root), _rows)
    try:
        return probe.parse(shell.run(probe.argv, timeout_s=DU_LIMIT_S))
    except ConnectionFailed:
        return None


def _rows(completed: Completed) -> list[Folder]:
    """What could not be read is missing; the rest counts."""
    rows = (line.partition("\t") for line in completed.stdout.splitlines())
    return [Folder(path, int(size) << 10) for size, _, path in rows if size.isdecimal()]
