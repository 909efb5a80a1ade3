"""Files and folders to a machine and back: whole, verified, and resumed where it stopped."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from gpuctl.errors import NotFound, TransferFailed, UsageError
from gpuctl.models import Report
from gpuctl.remote.tar_streams import Entry
from gpuctl.remote.trees import Listing, RemoteTrees, compare
from gpuctl.services import local_trees

# From here on a file travels by itself, so that it can go on where it stopped.
LARGE_BYTES = 32 << 20
_MEGABYTE = 10**6

# user@host:port:path before machine:path; a port alone is a path, as scp has it.
_WITH_PORT = re.compile(r"(?P<machine>[^/\s]*@(?:\[[^\]]+\]|[^/:\s]+):\d+):(?P<path>.*)", re.DOTALL)
_PLAIN = re.compile(r"(?P<machine>(?:[^/\s]*@\[[^\]]+\])|[^/:]*):(?P<path>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Side:
    """One end of a copy. `machine` None = this computer, "" = the only machine there is."""

    machine: str | None
    path: str


@dataclass(frozen=True, slots=True)
class Copied:
    """What travelled, in files and bytes, and what did not, with the reason."""

    files: int
    bytes: int
    skipped: tuple[str, ...] = ()


class Tally:
    """Counts what travels and says how far it is."""

    def __init__(self, report: Report, verb: str) -> None:
        self._report = report
        self._verb = verb
        self.files = self.bytes = self._total = self._done = 0
        self.skipped: list[str] = []

    def expect(self, entries: Sequence[Entry]) -> None:
        files = [one for one in entries if one.kind == "file"]
        self.files += len(files)
        self.bytes += sum(one.size for one in files)
        self._total = self.bytes

    def add(self, count: int) -> None:
        self.at(self._done + count)

    @property
    def done(self) -> int:
        return self._done

    def at(self, done: int) -> None:
        before, self._done = self._done, done
        if self._total >= _MEGABYTE and done // _MEGABYTE != before // _MEGABYTE:
            total = self._total // _MEGABYTE
            self._report.progress(f"{self._verb}, MB", done // _MEGABYTE, total)

    def skip(self, reasons: Sequence[str]) -> None:
        for reason in reasons:
            self._report.warn(f"skipped: {reason}")
        self.skipped += reasons

    def result(self) -> Copied:
        return Copied(self.files, self.bytes, tuple(self.skipped))


def side(text: str) -> Side:
    """Reads MACHINE:PATH, :PATH or PATH. A local name with a colon is written ./a:b."""
    match = _WITH_PORT.fullmatch(text) or _PLAIN.fullmatch(text)
    return Side(match["machine"], match["path"]) if match else Side(None, text)


def up(trees: RemoteTrees, sources: Sequence[str], target: str, report: Report) -> Copied:
    """Copies into `target` when that is a folder (or ends with /), else to that name.

    Raises NotFound, UsageError, TransferFailed, ConnectionFailed.
    """
    tally = Tally(report, "sending")
    there = trees.listing(target, is_shallow=True)
    into = there.top.kind == "dir" or target.endswith("/") or len(sources) > 1
    if into and there.top.kind not in ("dir", "missing"):
        raise UsageError(f"{there.root} on the machine is no folder to copy into")
    for text in sources:
        source = Path(text).expanduser()
        if not source.exists():
            raise NotFound(f"there is no {source}")
        place = there
        if into:
            place = trees.listing(f"{there.root}/{_name(source)}", is_shallow=True)
        _refuse_mixture(source.is_dir(), place.top.kind, f"{place.root} on the machine")
        with local_errors():
            if source.is_dir():
                entries, skipped = local_trees.travelling(local_trees.scan(source))
                tally.skip(skipped)
                tally.expect(entries)
                send_tree(trees, source, entries, place.root, tally)
            else:
                one = local_trees.entry(source, "")
                tally.expect([one])
                _send_file(trees, source, one, place.root, tally)
    return tally.result()


def down(trees: RemoteTrees, sources: Sequence[str], target: str, report: Report) -> Copied:
    """The other way round; the same rules."""
    tally = Tally(report, "fetching")
    folder = Path(target).expanduser()
    into = folder.is_dir() or target.endswith("/") or len(sources) > 1
    if into and folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is no folder to copy into")
    for text in sources:
        listing = trees.listing(text)
        if listing.top.kind == "missing":
            raise NotFound(f"there is no {listing.root} on the machine")
        place = folder / PurePosixPath(listing.root).name if into else folder
        kind = "dir" if place.is_dir() else "file" if place.exists() else "missing"
        _refuse_mixture(listing.top.kind == "dir", kind, str(place))
        with local_errors():
            if listing.top.kind == "dir":
                entries, skipped = local_trees.travelling(listing.entries)
                tally.skip(skipped)
                tally.expect(entries)
                fetch_tree(trees, listing.root, entries, place, tally)
                local_trees.dress_folders(place, [listing.top])
            else:
                tally.expect([listing.top])
                _fetch_file(trees, listing, place, tally)
    return tally.result()


def send_tree(
    trees: RemoteTrees, source: Path, entries: Sequence[Entry], root: str, tally: Tally
) -> None:
    """Large files one by one, so that each can be resumed; the rest as one stream, links last."""
    large = [one for one in entries if _travels_alone(one)]
    for one in large:
        _put(trees, source / one.path, one, f"{root}/{one.path}", tally)
    if large:
        sent = {one.path: _hashed(source, one) for one in large}
        compare(sent, trees.settle(root, {one.path: one.mtime_s for one in large}))
    rest = [one for one in entries if not _travels_alone(one)]
    rest.sort(key=lambda one: one.kind == "link")
    trees.put(source, rest, root, tally.add)


def fetch_tree(
    trees: RemoteTrees, root: str, entries: Sequence[Entry], target: Path, tally: Tally
) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for one in entries:
        if one.kind == "dir":
            (target / one.path).mkdir(parents=True, exist_ok=True)
    files = [one for one in entries if one.kind == "file"]
    for one in files:
        if _travels_alone(one):
            listing = trees.listing(f"{root}/{one.path}", is_shallow=True)
            _fetch_file(trees, listing, target / one.path, tally)
    if small := [one for one in files if not _travels_alone(one)]:
        trees.get(root, small, target, tally.add)
    for one in entries:
        if one.kind == "link":
            local_trees.make_link(target, one)
    local_trees.dress_folders(target, entries)


@contextmanager
def local_errors() -> Iterator[None]:
    """What this computer's file system refuses, in plain words."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise TransferFailed(f"{where}{error.strerror or error}") from error


def _send_file(trees: RemoteTrees, source: Path, one: Entry, place: str, tally: Tally) -> None:
    if not _is_utf8(place):
        folder, _, name = place.rpartition("/")
        trees.put(source.parent, [replace(one, path=name)], folder, tally.add)
        return
    _put(trees, source, one, place, tally)
    compare({"": _hashed(source, one)}, trees.settle(place, {"": one.mtime_s}))


def _put(trees: RemoteTrees, source: Path, one: Entry, place: str, tally: Tally) -> None:
    before = tally.done
    trees.shell.put(source, place, mode=one.mode, on_bytes=lambda done, _: tally.at(before + done))
    tally.at(before + one.size)


def _fetch_file(trees: RemoteTrees, listing: Listing, place: Path, tally: Tally) -> None:
    root = listing.root
    if not _is_utf8(root):
        folder, _, name = root.rpartition("/")
        entry = Entry(name, "file", listing.top.size)
        place.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=place.parent, prefix=".gpuctl-") as aside:
            trees.get(folder, [entry], Path(aside), tally.add)
            (Path(aside) / name).replace(place)
        return
    checked = trees.listing(root, checksum=True, is_shallow=True).top
    before = tally.done
    trees.shell.get(
        root,
        place,
        size=checked.size,
        sha256=checked.sha256,
        on_bytes=lambda done, _: tally.at(before + done),
    )
    tally.at(before + checked.size)
    place.chmod(checked.mode)
    os.utime(place, (checked.mtime_s, checked.mtime_s))


def _name(source: Path) -> str:
    """A link keeps its own name; `.` and `..` have none."""
    return source.name if source.name not in ("", "..") else source.resolve().name


def _hashed(source: Path, one: Entry) -> Entry:
    path = source / one.path
    return Entry(one.path, "file", path.stat().st_size, sha256=local_trees.sha256(path))


def _travels_alone(one: Entry) -> bool:
    return one.kind == "file" and one.size >= LARGE_BYTES and _is_utf8(one.path)


def _is_utf8(path: str) -> bool:
    """Other names cannot stand in a command line that is sent as text."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse_mixture(is_folder: bool, kind_there: str, where: str) -> None:
    if is_folder and kind_there not in ("dir", "missing"):
        raise UsageError(f"{where} is a file; a folder does not go there")
    if not is_folder and kind_there == "dir":
        raise UsageError(f"{where} is a folder; a file does not replace it")
