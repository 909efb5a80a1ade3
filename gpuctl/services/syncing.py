"""Makes a folder on one side like the folder on the other: only what differs travels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpuctl.errors import NotFound, UsageError
from gpuctl.models import Report
from gpuctl.remote.tar_streams import Entry
from gpuctl.remote.trees import RemoteTrees
from gpuctl.services import copying, local_trees
from gpuctl.services.copying import Tally

EXCLUDED = (".git", "__pycache__", ".venv", ".DS_Store", "*.part", "*.gpuctl-part")


@dataclass(frozen=True, slots=True)
class Wish:
    """`here` is a local folder, `there` a folder of the machine. `down` brings it here."""

    here: Path
    there: str
    down: bool = False
    delete: bool = False
    checksum: bool = False
    excludes: tuple[str, ...] = EXCLUDED


@dataclass(frozen=True, slots=True)
class Plan:
    """What has to be done on the receiving side, whose folder is `root` (the machine's path when
    it is there). `doomed` holds what is in a folder before the folder."""

    wish: Wish
    root: str
    send: tuple[Entry, ...]
    doomed: tuple[str, ...]
    skipped: tuple[str, ...]

    @property
    def bytes(self) -> int:
        return sum(one.size for one in self.send)


def plan(trees: RemoteTrees, wish: Wish) -> Plan:
    """Looks at both sides, changes nothing. Raises NotFound, UsageError, TransferFailed."""
    if wish.here.exists() and not wish.here.is_dir():
        raise UsageError(f"{wish.here} is not a folder", hint="gpuctl cp copies files")
    if not wish.down and not wish.here.exists():
        raise NotFound(f"there is no folder {wish.here}")
    there = trees.listing(wish.there, excludes=wish.excludes, checksum=wish.checksum)
    if there.top.kind == "missing" and wish.down:
        raise NotFound(f"there is no folder {there.root} on the machine")
    if there.top.kind not in ("dir", "missing"):
        raise UsageError(f"{there.root} on the machine is not a folder")
    with copying.local_errors():
        here = (
            local_trees.scan(wish.here, excludes=wish.excludes, checksum=wish.checksum)
            if wish.here.exists()
            else []
        )
    source, target = (there.entries, here) if wish.down else (here, there.entries)
    kept, skipped = local_trees.travelling(source)
    send, doomed = compared(source, kept, target, checksum=wish.checksum)
    return Plan(wish, there.root, tuple(send), tuple(doomed) if wish.delete else (), tuple(skipped))


def compared(
    source: Sequence[Entry], kept: Sequence[Entry], target: Sequence[Entry], *, checksum: bool
) -> tuple[list[Entry], list[str]]:
    """What of `kept` differs from `target`, and what `target` has that `source` has not.

    Raises UsageError where one has a folder and the other something else.
    """
    known = {one.path: one for one in target}
    names = {one.path for one in source}
    send = []
    for one in kept:
        other = known.get(one.path)
        if other is not None and (one.kind == "dir") != (other.kind == "dir"):
            raise UsageError(f"{one.path} is a folder on one side and none on the other")
        if other is None or _differs(one, other, checksum=checksum):
            send.append(one)
    return send, sorted((path for path in known if path not in names), reverse=True)


def carry_out(trees: RemoteTrees, todo: Plan, report: Report) -> Tally:
    """Sends, then deletes. Raises TransferFailed, ConnectionFailed."""
    wish = todo.wish
    tally = Tally(report, "fetching" if wish.down else "sending")
    tally.skip(todo.skipped)
    tally.expect(todo.send)
    with copying.local_errors():
        if todo.send and wish.down:
            copying.fetch_tree(trees, todo.root, todo.send, wish.here, tally)
        elif todo.send:
            copying.send_tree(trees, wish.here, todo.send, todo.root, tally)
    if todo.doomed:
        left = _remove_here(wish.here, todo.doomed) if wish.down else None
        for path, why in (left or trees.remove(todo.root, todo.doomed)).items():
            if why:
                report.warn(f"{path} is still there: {why}")
    return tally


def _differs(one: Entry, other: Entry, *, checksum: bool) -> bool:
    if one.kind != other.kind:
        return True
    if one.kind == "link":
        return one.target != other.target
    if one.kind == "dir":
        return one.mode != other.mode
    same_time = one.sha256 == other.sha256 if checksum else one.mtime_s == other.mtime_s
    return not same_time or one.size != other.size or one.mode != other.mode


def _remove_here(root: Path, paths: Sequence[str]) -> Mapping[str, str | None]:
    def remove(path: Path) -> Callable[[], None]:
        return path.rmdir if path.is_dir() and not path.is_symlink() else path.unlink

    found: dict[str, str | None] = {}
    for path in paths:
        try:
            remove(root / path)()
        except OSError as error:
            found[path] = error.strerror
        else:
            found[path] = None
    return found
