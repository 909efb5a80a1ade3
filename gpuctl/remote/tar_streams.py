"""Many files as one stream: packed, unpacked, and hashed on the way."""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO, Any

from gpuctl.errors import TransferFailed

PIECE_BYTES = 1 << 20

# is told how many bytes came or went since the last call
OnPiece = Callable[[int], object]


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, folder, link or other thing. `path` is relative to its root, "" for the root.

    `size` in bytes; `mtime_s` in whole Unix seconds; `target` of a link; `sha256` when asked for.
    """

    path: str
    kind: str
    size: int = 0
    mtime_s: int = 0
    mode: int = 0o644
    target: str | None = None
    sha256: str | None = None


def is_inside(path: str) -> bool:
    """Whether a relative path stays below where it starts."""
    pure = PurePosixPath(path)
    return bool(pure.parts) and not pure.is_absolute() and ".." not in pure.parts


def pack(pipe: Any, source: Path, entries: Iterable[Entry], on_piece: OnPiece) -> dict[str, Entry]:
    """Writes `entries` of `source` to `pipe`; gives each file with the hash of what was sent."""
    done: dict[str, Entry] = {}
    with tarfile.open(
        fileobj=pipe,
        mode="w|",
        format=tarfile.PAX_FORMAT,
        errors="surrogateescape",
        bufsize=PIECE_BYTES,
    ) as archive:
        for entry in entries:
            header = tarfile.TarInfo(entry.path)
            header.mode, header.mtime = entry.mode, entry.mtime_s
            if entry.kind == "file":
                done[entry.path] = _pack_file(archive, header, source, entry, on_piece)
                continue
            header.type = tarfile.DIRTYPE if entry.kind == "dir" else tarfile.SYMTYPE
            header.linkname = entry.target or ""
            archive.addfile(header)
    return done


def unpack(pipe: Any, target: Path, wanted: frozenset[str], on_piece: OnPiece) -> dict[str, Entry]:
    """Writes the files of a stream below `target`, each beside its place and then renamed.

    Raises TransferFailed for a stream that is cut or holds what is not in `wanted`.
    """
    found: dict[str, Entry] = {}
    try:
        with tarfile.open(
            fileobj=pipe, mode="r|", errors="surrogateescape", bufsize=PIECE_BYTES
        ) as archive:
            for header in archive:
                stream = archive.extractfile(header)
                if stream is None or header.name not in wanted or not is_inside(header.name):
                    raise TransferFailed(f"the machine sent {header.name!r}, unasked")
                found[header.name] = _unpack_file(stream, header, target, on_piece)
    except tarfile.TarError as error:
        raise TransferFailed(f"the stream of files broke: {error}") from error
    return found


def finish(part: Path, place: Path, *, mtime_s: int, mode: int) -> None:
    """Gives a file that is whole its mode and time, and its name."""
    part.chmod(mode & 0o777)
    os.utime(part, (mtime_s, mtime_s))
    part.replace(place)


def _pack_file(
    archive: tarfile.TarFile, header: tarfile.TarInfo, source: Path, entry: Entry, on_piece: OnPiece
) -> Entry:
    path = source / entry.path
    try:
        with path.open("rb") as stream:
            header.size = path.stat().st_size
            hashing = _Hashing(stream, on_piece)
            archive.addfile(header, hashing)
    except OSError as error:
        reason = error.strerror or "it changed meanwhile"
        raise TransferFailed(f"{path} cannot be copied: {reason}") from error
    return replace(entry, size=header.size, sha256=hashing.sha256.hexdigest())


def _unpack_file(
    stream: IO[bytes], header: tarfile.TarInfo, target: Path, on_piece: OnPiece
) -> Entry:
    place = target / header.name
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(place.name + ".gpuctl-part")
    hashing = _Hashing(stream, on_piece)
    with part.open("wb") as out:
        while piece := hashing.read(PIECE_BYTES):
            out.write(piece)
    finish(part, place, mtime_s=int(header.mtime), mode=header.mode)
    return Entry(header.name, "file", header.size, sha256=hashing.sha256.hexdigest())


class _Hashing:
    """A file that is hashed and counted while it is read."""

    def __init__(self, stream: IO[bytes], on_piece: OnPiece) -> None:
        self._stream = stream
        self._on_piece = on_piece
        self.sha256 = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        piece = self._stream.read(size)
        self.sha256.update(piece)
        self._on_piece(len(piece))
        return piece
