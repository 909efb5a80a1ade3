"""Brings a large file onto the volume: resumed after a drop, checked, in place only when whole."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from video import web
from worker.report import FULL_DISK_REMEDY, Failure, disk_full_named, refuse_when_simulated_full

ATTEMPTS = 8
PAUSE_S = 2.0
LONGEST_PAUSE_S = 60.0
HUB = "huggingface.co"
SPARE_BYTES = 256 << 20
LEAST_BYTES = 64
_HEADER_LIMIT_BYTES = 200 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")

# bytes so far, bytes in all (None: unknown). What it raises ends the download.
Tell = Callable[[int, "int | None"], None]


@dataclass(frozen=True)
class Wanted:
    """`sha256` is checked where it is known; `limit_bytes` is the most that is taken."""

    url: str
    target: Path
    sha256: str | None = None
    limit_bytes: int = 80 << 30


def bring(
    wanted: Wanted,
    tell: Tell,
    *,
    door: web.Door | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Makes `wanted.target` exist, whole. Of several who want it, one fetches.

    Raises Failure: bad_input (the address), disk_full, model_missing (it never came whole).
    """
    target = wanted.target
    with disk_full_named():
        refuse_when_simulated_full()
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{target.name}.part")
        with part.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if target.exists():
                part.unlink(missing_ok=True)
                return
            _Download(wanted, file, part, tell, door).run(sleep)
            part.replace(target)
    _note(part).unlink(missing_ok=True)


def damage(path: Path, *, suffix: str | None = None) -> str | None:
    """What is wrong with a model file, None when nothing is. `suffix`: what it is to be called.

    A safetensors file says in its header how long it is: a cut one is found without its hash.
    """
    size = path.stat().st_size
    if size < LEAST_BYTES:
        return f"{path.name} has only {size} bytes"
    if (suffix or path.suffix) != ".safetensors":
        return None
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(_HEADER_LIMIT_BYTES, size - 8):
            return f"{path.name} is no safetensors file"
        try:
            header = json.loads(file.read(length))
            ends = [row["data_offsets"][1] for key, row in header.items() if key != "__metadata__"]
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            return f"{path.name} has an unreadable header"
    whole = 8 + length + max(ends, default=0)
    return None if size == whole else f"{path.name} has {size} of {whole} bytes"


class _Download:
    def __init__(
        self, wanted: Wanted, file: IO[bytes], part: Path, tell: Tell, door: web.Door | None
    ) -> None:
        self._wanted, self._file, self._part, self._tell = wanted, file, part, tell
        self._door = door
        self._sha256 = wanted.sha256

    def run(self, sleep: Callable[[float], None]) -> None:
        pause_s, why = PAUSE_S, ""
        for attempt in range(ATTEMPTS):
            if attempt:
                self._tell(self._done, None)
                sleep(pause_s)
                pause_s = min(LONGEST_PAUSE_S, pause_s * 2)
            try:
                self._once()
                problem = self._problem()
                if problem is None:
                    return
                why = problem
                self._restart()
            except web.Dropped as drop:
                why = str(drop)
        raise Failure(
            "model_missing",
            f"{self._wanted.target.name} did not come whole: {why}",
            "run it again: it goes on where it stopped",
        )

    @property
    def _done(self) -> int:
        return self._file.tell()

    def _once(self) -> None:
        self._file.seek(0, os.SEEK_END)
        headers = self._headers()
        with web.opened(self._wanted.url, door=self._door, headers=headers) as page:
            is_same = page.status == 206 and page.headers.get("etag", "") == self._known_etag()
            if (
                page.status == 416
                or (page.status != 206 and self._done)
                or (page.status == 206 and not is_same)
            ):
                self._restart()
                if page.status != 200:
                    raise web.Dropped("the server would not go on; beginning again")
            total = self._total(page)
            self._check_room(total)
            self._remember(page)
            for block in page.blocks():
                self._file.write(block)
                self._check_size(self._done)
                self._tell(self._done, total)
            self._file.flush()
            if total is not None and self._done != total:
                raise web.Dropped(f"{self._done} of {total} bytes came")

    def _headers(self) -> dict[str, str]:
        headers = {"Range": f"bytes={self._done}-"} if self._done else {}
        token = os.environ.get("HF_TOKEN")
        if token and urlsplit(self._wanted.url).hostname == HUB:
            headers["Authorization"] = f"Bearer {token}"
        return headers

    def _total(self, page: web.Page) -> int | None:
        length = page.headers.get("content-length", "")
        total = self._done + int(length) if length.isdecimal() else None
        # The hub says of the file itself what its storage may not (X-Linked-Size, X-Linked-ETag).
        linked = page.linked.get("x-linked-size", "")
        if linked.isdecimal():
            total = int(linked)
        etag = page.linked.get("x-linked-etag", "").strip('"')
        if self._sha256 is None and _SHA256.fullmatch(etag):
            self._sha256 = etag
        if total is not None:
            self._check_size(total)
        return total

    def _check_size(self, size: int) -> None:
        if size > self._wanted.limit_bytes:
            self._restart()
            limit = self._wanted.limit_bytes >> 30
            raise web.Refused(f"{self._wanted.target.name} is larger than {limit} GB")

    def _check_room(self, total: int | None) -> None:
        free = shutil.disk_usage(self._part.parent).free
        if total is not None and total - self._done + SPARE_BYTES > free:
            need = f"needs {(total - self._done) / 1e9:.1f} GB more"
            raise Failure(
                "disk_full",
                f"{self._wanted.target.name} {need}, {free / 1e9:.1f} GB are free",
                FULL_DISK_REMEDY,
            )

    def _problem(self) -> str | None:
        self._file.flush()
        if self._sha256 is not None:
            digest = hashlib.sha256()
            with self._part.open("rb") as file:
                while block := file.read(web.BLOCK_BYTES):
                    digest.update(block)
            if digest.hexdigest() != self._sha256:
                return "its sha256 is not the one that was announced"
        return damage(self._part, suffix=self._wanted.target.suffix)

    def _restart(self) -> None:
        self._file.seek(0)
        self._file.truncate()

    def _remember(self, page: web.Page) -> None:
        _note(self._part).write_text(page.headers.get("etag", ""), encoding="utf-8")

    def _known_etag(self) -> str:
        note = _note(self._part)
        return note.read_text(encoding="utf-8") if note.exists() else ""


def _note(part: Path) -> Path:
    return part.with_name(f"{part.name}.etag")
