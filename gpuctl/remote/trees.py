"""Files and folders of a machine: listed, received, sent and checked by one script on it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gpuctl.errors import ConnectionFailed, MissingDependency, NotFound, TransferFailed
from gpuctl.models import Json
from gpuctl.remote.base import LOST, Process, Shell
from gpuctl.remote.quoting import with_workspace
from gpuctl.remote.tar_streams import Entry, OnPiece, pack, unpack
from gpuctl.resources import bundled

_NO_PYTHON = 76
_NO_WORKSPACE = 73
# each half a second at most
_STDERR_LOOKS = 20
_RUN = f'command -v python3 >/dev/null || exit {_NO_PYTHON}; exec python3 -B -c "$1"'


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies at `root`, an absolute path there. `top.kind` is missing when nothing does."""

    root: str
    top: Entry
    entries: tuple[Entry, ...] = ()


class RemoteTrees:
    """Paths are as the operator writes them: in the workspace, below ~, or absolute.

    Raises TransferFailed, NotFound, ConnectionFailed, MissingDependency (no python3 there).
    """

    def __init__(self, shell: Shell, workspace: str | None) -> None:
        self.shell = shell
        self._workspace = workspace

    def listing(
        self,
        path: str,
        *,
        excludes: Sequence[str] = (),
        checksum: bool = False,
        is_shallow: bool = False,
    ) -> Listing:
        """With `checksum` every file has its sha256; `is_shallow` looks at `path` alone."""
        asked = {"excludes": list(excludes), "checksum": checksum, "shallow": is_shallow}
        top, *entries = self._ask("list", path, asked)
        return Listing(str(top["root"]), _entry(top), tuple(map(_entry, entries)))

    def settle(self, root: str, files: Mapping[str, int]) -> dict[str, Entry]:
        """Gives files (path → mtime) their times; their sizes and hashes as they are there."""
        return {row["path"]: _entry(row) for row in self._ask("settle", root, {"files": {**files}})}

    def remove(self, root: str, paths: Sequence[str]) -> dict[str, str | None]:
        """Path → why it is still there, None when it is gone."""
        rows = self._ask("remove", root, {"paths": list(paths)})
        return {row["path"]: row.get("error") for row in rows}

    def put(self, source: Path, entries: Iterable[Entry], root: str, on_piece: OnPiece) -> None:
        """Sends `entries` of the local folder `source` into `root`, as one stream.

        Raises TransferFailed when what was written there is not what was sent.
        """
        process = self._start("receive", root, {})
        try:
            answers = _Answers(process)
            sent = pack(_Stdin(process), source, entries, on_piece)
            process.close_stdin()
            written = answers.rows()
            _check_exit(process)
        finally:
            process.close()
        compare(sent, {row["path"]: _entry(row) for row in written})

    def get(self, root: str, entries: Sequence[Entry], target: Path, on_piece: OnPiece) -> None:
        """Brings `entries` (files) of `root` into the local folder `target`, as one stream.

        Raises TransferFailed when what arrived is not what was sent.
        """
        said = bytearray()
        paths = [entry.path for entry in entries]
        process = self._start("send", root, {"paths": paths}, said.extend)
        try:
            process.close_stdin()
            came = unpack(_Stdout(process), target, frozenset(paths), on_piece)
            _check_exit(process)
            sent = _announced(process, said, len(paths))
        finally:
            process.close()
        compare(sent, came)

    def _ask(self, verb: str, root: str, request: Json) -> Iterator[Json]:
        process = self._start(verb, root, request)
        try:
            process.close_stdin()
            for line in process.lines():
                yield json.loads(line)
            _check_exit(process)
        finally:
            process.close()

    def _start(
        self,
        verb: str,
        root: str,
        request: Json,
        on_stderr: Callable[[bytes], object] | None = None,
    ) -> Process:
        argv = with_workspace(self._workspace, _RUN, _script())
        process = self.shell.start(argv, on_stderr=on_stderr)
        asked = json.dumps({"verb": verb, "root": root, **request})
        process.write(asked.encode() + b"\n")
        return process


def compare(sent: Mapping[str, Entry], came: Mapping[str, Entry]) -> None:
    """Raises TransferFailed, naming the first file that is not what it was."""
    for path, entry in sent.items():
        there = came.get(path)
        if there is None or (there.size, there.sha256) != (entry.size, entry.sha256):
            raise TransferFailed(
                f"{path or 'the file'} did not arrive as it was sent",
                hint="run the same command again",
            )


def _announced(process: Process, said: bytearray, count: int) -> dict[str, Entry]:
    """What the machine says that it sent: as many lines of stderr, which may come last."""
    for _ in range(_STDERR_LOOKS):
        process.stderr_text()  # waits a little for its end
        lines = bytes(said).decode("utf-8", "replace").splitlines(keepends=True)
        rows = [json.loads(line) for line in lines if line[0] == "{" and line[-1] == "\n"]
        if len(rows) == count:
            return {row["path"]: _entry(row) for row in rows}
    raise TransferFailed("the machine did not say what it sent", hint="run the same command again")


@cache
def _script() -> str:
    return (bundled("remote_scripts") / "files" / "tree.py").read_text(encoding="utf-8")


def _entry(row: Json) -> Entry:
    names = ("path", "kind", "size", "mtime_s", "mode", "target", "sha256")
    return Entry(**{"path": "", "kind": "file", **{k: row[k] for k in names if k in row}})


def _check_exit(process: Process) -> None:
    code = process.wait()
    if code == 0:
        return
    said = process.stderr_text().strip().splitlines()
    reason = said[-1].removeprefix("gpuctl: ") if said else f"exit code {code}"
    if code == LOST:
        raise ConnectionFailed("the connection was lost in the middle of a copy")
    if code == _NO_PYTHON:
        raise MissingDependency(
            "there is no python3 on the machine", hint="apt-get install -y python3, on the machine"
        )
    if code == _NO_WORKSPACE:
        reason = "no workspace can be made there (remote.workspace)"
    if "No such file" in reason:
        raise NotFound(f"on the machine: {reason}")
    raise TransferFailed(f"on the machine: {reason}")


class _Stdin:
    def __init__(self, process: Process) -> None:
        self._process = process

    def write(self, data: bytes) -> int:
        self._process.write(data)
        return len(data)


class _Stdout:
    def __init__(self, process: Process) -> None:
        self._process = process

    def read(self, size: int) -> bytes:
        return self._process.read(size)


class _Answers:
    """Reads lines of JSON meanwhile: unread they would fill the window and stop the machine."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._rows: list[Json] = []
        self._failure: ConnectionFailed | None = None
        self._thread = threading.Thread(target=self._read, name="answers", daemon=True)
        self._thread.start()

    def rows(self) -> list[Json]:
        """Raises ConnectionFailed."""
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        return self._rows

    def _read(self) -> None:
        try:
            self._rows += [json.loads(line) for line in self._process.lines()]
        except ConnectionFailed as failure:
            self._failure = failure
