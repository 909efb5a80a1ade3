"""What travels with a job through RunPod's queue: our own id, and the files it reads."""

from __future__ import annotations

import base64
import binascii
import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from worker.fields import bad_input
from worker.layout import is_id
from worker.report import Failure, confine, disk_full_named, measure

Json = dict[str, Any]

# Beside the handler's own fields in `input`; taken out before the handler sees them.
ENVELOPE = "gpuctl"
DOWNLOAD_TIMEOUT_S = 60.0
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Delivery:
    """A job as it came: `queue_id` is RunPod's, `id` the client's own, the same without one."""

    queue_id: str
    id: str
    input: Json
    files: tuple[Json, ...]


def delivery(job: Json) -> Delivery:
    """Takes the envelope out. Raises Failure(bad_input) for one that is malformed."""
    queue_id, given = job.get("id"), job.get("input")
    if not is_id(queue_id):
        raise bad_input(f"not a job id: {queue_id!r}", "")
    if not isinstance(given, dict):
        raise bad_input("the input is not an object", "send a JSON object")
    envelope = given.get(ENVELOPE)
    if envelope is None:
        return Delivery(str(queue_id), str(queue_id), given, ())
    own = {name: value for name, value in given.items() if name != ENVELOPE}
    job_id = envelope.get("id") if isinstance(envelope, dict) else None
    files = envelope.get("files", []) if isinstance(envelope, dict) else None
    is_list = isinstance(files, list) and all(isinstance(each, dict) for each in files)
    if not is_id(job_id) or not is_list:
        raise bad_input(f"{ENVELOPE} is not an envelope with id and files", "update gpuctl")
    return Delivery(str(queue_id), str(job_id), own, tuple(files or ()))


def put_files(workspace: Path, files: tuple[Json, ...]) -> None:
    """Writes each file under the workspace, unless the very same is there already.

    A file is `{"path", "sha256"}` with `data` (base64), or `url`, or neither: then it must lie
    there, sent over the volume's own service. Raises Failure.
    """
    for file in files:
        path, digest = file.get("path"), file.get("sha256")
        if not isinstance(path, str) or not isinstance(digest, str):
            raise bad_input("a file of the job has no path or no sha256", "update gpuctl")
        _put(confine(workspace, path), digest, file)


def _put(target: Path, digest: str, file: Json) -> None:
    if target.is_file() and measure(target)[1] == digest:
        return
    with disk_full_named(), _beside(target) as part:
        if isinstance(file.get("data"), str):
            part.write_bytes(_decoded(file["data"], target.name))
        elif isinstance(file.get("url"), str):
            _download(file["url"], part)
        else:
            raise bad_input(
                f"{target.name} is not on this worker", "is the volume mounted at this endpoint?"
            )
        if measure(part)[1] != digest:
            raise bad_input(f"{target.name} did not arrive as it was sent", "send the job again")
        part.replace(target)


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A scratch name that no other worker on the same volume uses."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


def _decoded(text: str, name: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise bad_input(f"{name} is not base64: {error}", "") from error


def _download(url: str, part: Path) -> None:
    if urlsplit(url).scheme not in ("http", "https"):
        raise bad_input("a file of the job has an address that is not http", "")
    try:
        with (
            urllib.request.urlopen(url, timeout=DOWNLOAD_TIMEOUT_S) as answer,
            part.open("wb") as out,
        ):
            _copy(answer, out)
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's: named by the caller
        # The address carries a signature: it is not repeated.
        where = urlsplit(url).hostname
        raise Failure(
            "failed",
            f"a file of the job could not be fetched from {where}: {type(error).__name__}",
            "send the job again; is the bucket reachable from the endpoint?",
        ) from error


def _copy(source: Any, target: IO[bytes]) -> None:
    while block := source.read(_BLOCK_BYTES):
        target.write(block)
