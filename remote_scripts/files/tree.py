"""One side of a copy: lists, receives, sends, checks and removes files, as the first line of stdin
asks (JSON). Sent as text to the machine's python3, so it imports nothing of its neighbours."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import stat
import sys
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

PIECE_BYTES = 1 << 20
KINDS = ((stat.S_ISREG, "file"), (stat.S_ISDIR, "dir"), (stat.S_ISLNK, "link"))


def resolve(text: str, workspace: str) -> Path:
    """Relative paths lie in the workspace; /workspace is the workspace, wherever that really is."""
    path = Path(text).expanduser()
    usual = Path("/workspace")
    is_fallback = usual.is_dir() and Path(workspace) == Path.home() / ".gpuctl"
    if not is_fallback and (path == usual or usual in path.parents):
        path = path.relative_to(usual)
    return Path(os.path.normpath(Path(workspace) / path))


def describe(path: Path, name: str, *, follow: bool = False) -> dict[str, Any]:
    info = path.stat() if follow else path.lstat()
    kind = next((word for test, word in KINDS if test(info.st_mode)), "other")
    found: dict[str, Any] = {
        "path": name,
        "kind": kind,
        "size": info.st_size if kind == "file" else 0,
        "mtime_s": int(info.st_mtime),
        "mode": info.st_mode & 0o777,
    }
    if kind == "link":
        found["target"] = str(path.readlink())
    return found


def digest(path: Path) -> str:
    sha256 = hashlib.sha256()
    with path.open("rb") as stream:
        for piece in iter(lambda: stream.read(PIECE_BYTES), b""):
            sha256.update(piece)
    return sha256.hexdigest()


def is_excluded(name: str, patterns: Sequence[str]) -> bool:
    base = name.rpartition("/")[2]
    return any(fnmatch.fnmatch(base, one) or fnmatch.fnmatch(name, one) for one in patterns)


def walk(folder: Path, prefix: str, patterns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Folders before what is in them, names sorted."""
    for path in sorted(folder.iterdir()):
        name = prefix + path.name
        if is_excluded(name, patterns):
            continue
        found = describe(path, name)
        yield found
        if found["kind"] == "dir":
            yield from walk(path, name + "/", patterns)


def tell(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")


def list_(request: dict[str, Any], root: Path) -> None:
    if not root.exists():
        tell({"root": str(root), "kind": "missing"})
        return
    top = describe(root, "", follow=True)
    is_checked = bool(request.get("checksum"))
    if is_checked and top["kind"] == "file":
        top["sha256"] = digest(root)
    tell({**top, "root": str(root)})
    if top["kind"] != "dir" or request.get("shallow"):
        return
    for found in walk(root, "", request.get("excludes", ())):
        if is_checked and found["kind"] == "file":
            found["sha256"] = digest(root / found["path"])
        tell(found)


def receive(_request: dict[str, Any], root: Path) -> None:
    """A tar stream into `root`; each file is written beside its place, hashed and renamed."""
    folders = []
    root.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|", errors="surrogateescape") as archive:
        for entry in archive:
            place = root / entry.name
            if entry.isdir():
                place.mkdir(parents=True, exist_ok=True)
                folders.append((place, entry))
            elif entry.issym():
                replace_link(entry.linkname, place)
            else:
                content = archive.extractfile(entry)
                assert content is not None
                tell({"path": entry.name, **write(content, place, entry)})
    for place, entry in reversed(folders):
        place.chmod(entry.mode)
        os.utime(place, (entry.mtime, entry.mtime))


def write(stream: IO[bytes], place: Path, entry: tarfile.TarInfo) -> dict[str, Any]:
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(place.name + ".gpuctl-part")
    sha256, size = hashlib.sha256(), 0
    with part.open("wb") as out:
        for piece in iter(lambda: stream.read(PIECE_BYTES), b""):
            out.write(piece)
            sha256.update(piece)
            size += len(piece)
    part.chmod(entry.mode)
    os.utime(part, (entry.mtime, entry.mtime))
    part.replace(place)
    return {"size": size, "sha256": sha256.hexdigest()}


def replace_link(target: str, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(place.name + ".gpuctl-part")
    part.unlink(missing_ok=True)
    part.symlink_to(target)
    part.replace(place)


class Hashing:
    """A file that is hashed while tarfile reads it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream, self.sha256 = stream, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        piece = self.stream.read(size)
        self.sha256.update(piece)
        return piece


def send(request: dict[str, Any], root: Path) -> None:
    """The files `paths` as a tar stream on stdout; their hashes, all at once, on stderr."""
    rows = []
    with tarfile.open(
        fileobj=sys.stdout.buffer,
        mode="w|",
        format=tarfile.PAX_FORMAT,
        errors="surrogateescape",
        bufsize=PIECE_BYTES,
    ) as archive:
        for name in request["paths"]:
            with (root / name).open("rb") as stream:
                entry = archive.gettarinfo(arcname=name, fileobj=stream)
                hashing = Hashing(stream)
                archive.addfile(entry, hashing)
            sha256 = hashing.sha256.hexdigest()
            rows.append({"path": name, "size": entry.size, "sha256": sha256})
    sys.stdout.flush()
    sys.stderr.write("".join(json.dumps(row) + "\n" for row in rows))


def settle(request: dict[str, Any], root: Path) -> None:
    """Gives `files` (path to mtime) their times, and tells what they hold now."""
    for name, mtime_s in request["files"].items():
        place = root / name
        os.utime(place, (mtime_s, mtime_s))
        tell({**describe(place, name), "sha256": digest(place)})


def remove(request: dict[str, Any], root: Path) -> None:
    """`paths`, what is inside a folder before it; a folder that is not empty stays."""
    for name in request["paths"]:
        place = root / name
        try:
            if place.is_dir() and not place.is_symlink():
                place.rmdir()
            else:
                place.unlink()
        except OSError as problem:
            tell({"path": name, "error": problem.strerror})
        else:
            tell({"path": name})


VERBS = {"list": list_, "receive": receive, "send": send, "settle": settle, "remove": remove}


def main() -> int:
    """Exit codes: 0 done, 74 the file system refused."""
    request = json.loads(sys.stdin.buffer.readline())
    root = resolve(request["root"], os.environ["GPUCTL_WORKSPACE"])
    try:
        VERBS[request["verb"]](request, root)
    except OSError as problem:
        sys.stderr.write(f"gpuctl: {problem.filename or root}: {problem.strerror or problem}\n")
        return 74
    return 0


if __name__ == "__main__":
    sys.exit(main())
