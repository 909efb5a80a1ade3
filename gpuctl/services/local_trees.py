"""Files and folders of this computer as the other side lists its own; and which links travel."""

from __future__ import annotations

import hashlib
import os
import posixpath
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

from gpuctl.remote.tar_streams import Entry

_KINDS = ((stat.S_ISREG, "file"), (stat.S_ISDIR, "dir"), (stat.S_ISLNK, "link"))


def entry(path: Path, name: str) -> Entry:
    """`name` is its path in the tree; the root itself ("") is looked at through a link."""
    info = path.lstat() if name else path.stat()
    kind = next((word for test, word in _KINDS if test(info.st_mode)), "other")
    return Entry(
        name,
        kind,
        size=info.st_size if kind == "file" else 0,
        mtime_s=int(info.st_mtime),
        mode=info.st_mode & 0o777,
        target=str(path.readlink()) if kind == "link" else None,
    )


def scan(root: Path, *, excludes: Sequence[str] = (), checksum: bool = False) -> list[Entry]:
    """What is in `root`: folders before what is in them. Raises OSError."""
    found = _walk(root, "", excludes)
    if not checksum:
        return list(found)
    return [replace(one, sha256=sha256(root / one.path)) if _is_file(one) else one for one in found]


def sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def travelling(entries: Iterable[Entry]) -> tuple[list[Entry], list[str]]:
    """What can be copied, and why the rest cannot: links that lead out of the tree would mean
    something else on the other side, devices and sockets nothing at all."""
    kept: list[Entry] = []
    skipped: list[str] = []
    for one in entries:
        if one.kind == "other":
            skipped.append(f"{shown(one.path)} is neither file, folder nor link")
        elif one.kind == "link" and not _stays_inside(one):
            target = shown(one.target or "nowhere")
            skipped.append(f"{shown(one.path)} is a link that leads out of the tree, to {target}")
        else:
            kept.append(one)
    return kept, skipped


def shown(path: str) -> str:
    """A name as it can be printed: what is not UTF-8 in it becomes a question mark."""
    return path.encode("utf-8", "replace").decode()


def dress_folders(root: Path, entries: Iterable[Entry]) -> None:
    """Gives folders their modes and times, the inner ones first: last of all."""
    for one in sorted(entries, key=lambda one: one.path, reverse=True):
        if one.kind == "dir":
            path = root / one.path
            path.chmod(one.mode)
            os.utime(path, (one.mtime_s, one.mtime_s))


def make_link(root: Path, one: Entry) -> None:
    place = root / one.path
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(place.name + ".gpuctl-part")
    part.unlink(missing_ok=True)
    part.symlink_to(one.target or "")
    part.replace(place)


def _is_file(one: Entry) -> bool:
    return one.kind == "file"


def _walk(folder: Path, prefix: str, excludes: Sequence[str]) -> Iterator[Entry]:
    for path in sorted(folder.iterdir()):
        name = prefix + path.name
        if any(fnmatch(path.name, one) or fnmatch(name, one) for one in excludes):
            continue
        found = entry(path, name)
        yield found
        if found.kind == "dir":
            yield from _walk(path, name + "/", excludes)


def _stays_inside(link: Entry) -> bool:
    target = link.target or "/"
    if target.startswith("/"):
        return False
    whole = posixpath.normpath(posixpath.join(posixpath.dirname(link.path), target))
    return whole != ".." and not whole.startswith("../")
