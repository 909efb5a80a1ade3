"""What a handler says while it works, and where it may write: the handler's side of a job."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Json = dict[str, Any]
Sink = Callable[[str, Json], None]

CODES = (
    "bad_input",
    "oom",
    "gated",
    "model_missing",
    "disk_full",
    "unsupported",
    "bootstrap_failed",
    "worker_died",
    "cancelled",
    "failed",
)
FULL_DISK_ERRNOS = (errno.ENOSPC, errno.EDQUOT)
FULL_DISK_REMEDY = "free space under the workspace, or rent a machine with a larger volume"
_READ_BYTES = 1 << 20


class Failure(Exception):
    """An expected end without a result. `code` is one of CODES, `remedy` says what to do next."""

    def __init__(self, code: str, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.code = code if code in CODES else "failed"
        self.message = message
        self.remedy = remedy


class Cancelled(Failure):
    """The operator cancelled the job. Let it pass through; the runtime reports it."""

    def __init__(self) -> None:
        super().__init__("cancelled", "the job was cancelled")


def _never() -> bool:
    return False


@dataclass(frozen=True)
class JobContext:
    """One job as the runtime knows it. `directory` is `<workspace>/jobs/<id>`."""

    id: str
    directory: Path
    workspace: Path
    is_cancelled: Callable[[], bool] = _never


# One process runs one job at a time, and pipelines report from threads of their own: so the
# binding is the process's, not a thread's.
_bound: list[tuple[Sink, JobContext]] = []
_emit_lock = threading.Lock()


@contextmanager
def bind(sink: Sink, job: JobContext) -> Iterator[JobContext]:
    """Sends everything reported inside to `sink(kind, fields)`, in the name of `job`."""
    entry = (sink, job)
    _bound.append(entry)
    try:
        yield job
    finally:
        _bound.remove(entry)


def progress(stage: str, done: float, total: float | None = None, **fields: Any) -> None:
    """`done` of `total` units of `stage`, and what else is worth showing (a preview).

    Raises Cancelled when the operator asked for it.
    """
    check_cancelled()
    _emit("progress", {**fields, "stage": stage, "done": done, "total": total})


def loading(
    stage: str, message: str = "", done: float | None = None, total: float | None = None
) -> None:
    """Something that is paid once per machine or model: download, load, compile."""
    fields: Json = {"stage": stage, "message": message}
    if done is not None:
        fields |= {"done": done, "total": total}
    _emit("loading", fields)


def log(message: str, level: str = "info") -> None:
    """A sentence for the operator. `level` is debug, info or warning."""
    _emit("log", {"message": message, "level": level})


def artifact(path: Path, media_type: str, **fields: Any) -> None:
    """Announces a finished file with its size and sha256, and `fields` (seed, index, …)."""
    size, digest = measure(path)
    event = {
        "path": str(path),
        "name": path.name,
        "bytes": size,
        "sha256": digest,
        "media_type": media_type,
    }
    _emit("artifact", {**fields, **event})


@contextmanager
def write_artifact(name: str, media_type: str, **fields: Any) -> Iterator[Path]:
    """Gives `outputs/<name>.part`; after the block it is renamed, hashed and announced.

    Raises Failure(disk_full) when the disk is full. Nothing is left behind when the block fails.
    """
    target = confine(output_dir(), name)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    try:
        with disk_full_named():
            refuse_when_simulated_full()
            yield part
            part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    artifact(target, media_type, **fields)


def output_dir() -> Path:
    """The job's `outputs/` folder, made on first use."""
    folder = _job().directory / "outputs"
    with disk_full_named():
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def workspace() -> Path:
    """The machine's workspace, absolute."""
    return _job().workspace


def inside_workspace(relative: str) -> Path:
    """`relative` as a path under the workspace.

    Raises Failure(bad_input) for absolute paths, `..`, and links that lead outside.
    """
    return confine(workspace(), relative)


def check_cancelled() -> None:
    """Raises Cancelled when the operator asked for it. Cheap: call it in every step."""
    if _bound and _bound[-1][1].is_cancelled():
        raise Cancelled


def confine(root: Path, relative: str) -> Path:
    """`root/relative`, or Failure(bad_input) when that would be outside of `root`."""
    parts = Path(relative)
    if not relative or "\0" in relative or parts.is_absolute() or ".." in parts.parts:
        raise Failure("bad_input", f"not a path inside the workspace: {relative!r}")
    base = root.resolve()
    path = (base / parts).resolve()
    if path != base and base not in path.parents:
        raise Failure("bad_input", f"leads outside the workspace: {relative!r}")
    return path


def measure(path: Path) -> tuple[int, str]:
    """Size in bytes and sha256 of a file."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
            size += len(block)
    return size, digest.hexdigest()


@contextmanager
def disk_full_named() -> Iterator[None]:
    """Turns the operating system's "no space left" into Failure(disk_full)."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL_DISK_ERRNOS:
            raise
        raise Failure("disk_full", f"the disk is full: {error}", FULL_DISK_REMEDY) from error


def refuse_when_simulated_full() -> None:
    """Raises ENOSPC when the simulator plays a full disk (GPUCTL_SIM_DISK_FULL=1)."""
    if os.environ.get("GPUCTL_SIM_DISK_FULL") == "1":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _job() -> JobContext:
    if not _bound:
        raise RuntimeError("no job is bound: call this from a handler")
    return _bound[-1][1]


def _emit(kind: str, fields: Json) -> None:
    with _emit_lock:
        if _bound:
            _bound[-1][0](kind, fields)
