"""The model's folder on this machine, fetched from the hub with its progress told."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flux.request import Model
from worker import report

_TELL_EVERY_S = 2.0
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Snapshot:
    """Where the model lies, and which revision it is; None when the folder does not say."""

    folder: Path
    revision: str | None


def local_folder(model: Model) -> Path | None:
    """The model's folder when `repo` is one on this machine: absolute, or inside the workspace."""
    path = Path(model.repo).expanduser()
    if path.is_absolute():
        return path if path.is_dir() else None
    path = report.workspace() / path
    return path if (path / "model_index.json").is_file() else None


def fetch(model: Model, pipeline: Any) -> Snapshot:
    """The complete snapshot of `model`; nothing is fetched twice. Raises the hub's own errors."""
    folder = local_folder(model)
    if folder is not None:
        return Snapshot(folder, model.revision)
    with _told(model):
        found = Path(pipeline.download(model.repo, revision=model.revision))
    return Snapshot(found, found.name if _COMMIT.fullmatch(found.name) else model.revision)


@contextmanager
def _told(model: Model) -> Iterator[None]:
    """Reports the growth of the repository's folder in the cache while the block fetches."""
    from huggingface_hub import constants

    blobs = Path(constants.HF_HUB_CACHE) / f"models--{model.repo.replace('/', '--')}" / "blobs"
    stop = threading.Event()
    watcher = threading.Thread(
        target=_watch, args=(model, blobs, _size_bytes(blobs), stop), daemon=True
    )
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()


def _watch(model: Model, blobs: Path, before: int, stop: threading.Event) -> None:
    told = before
    while not stop.wait(_TELL_EVERY_S):
        size = _size_bytes(blobs)
        if size == told:
            continue
        told = size
        # The exact total is known to the downloader alone; the weights in bf16 are close to it.
        total = max(size, round(model.vram_gb * 1e9))
        report.loading("download", f"fetching {model.repo}", size, total)


def _size_bytes(folder: Path) -> int:
    """Bytes on disk; the holes of a preallocated file do not count where blocks are known."""
    total = 0
    for path in folder.glob("*"):
        try:
            status = path.stat()
        except FileNotFoundError:  # renamed between listing and looking
            continue
        total += status.st_blocks * 512 or status.st_size
    return total
