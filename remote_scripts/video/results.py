"""Brings what ComfyUI saved into the job's outputs, whole."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from video import comfy_client
from video.comfy_client import Comfy, Missing, Unreachable
from worker import report
from worker.report import Failure

Json = dict[str, Any]
# VideoHelperSuite says `gifs`, ComfyUI's own SaveVideo `images`; `video` is what others chose.
KEYS = ("images", "gifs", "videos", "video")
MEDIA_TYPES = {
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".mkv": "video/x-matroska",
    ".mov": "video/quicktime",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".png": "image/png",
    ".jpg": "image/jpeg",
}
FILMS = (".mp4", ".webm", ".mkv", ".mov", ".gif", ".webp")
ATTEMPTS = 3


def entries(outputs: Json) -> list[Json]:
    """The films of a finished prompt; where it made none, its pictures. Previews do not count."""
    found: list[Json] = []
    for node in outputs.values():
        for key in KEYS:
            rows = node.get(key)
            found += (
                [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
            )
    known = [row for row in found if suffix_of(row) in MEDIA_TYPES]
    saved = [row for row in known if row.get("type", "output") == "output"] or known
    return [row for row in saved if suffix_of(row) in FILMS] or saved


def suffix_of(entry: Json) -> str:
    return Path(str(entry.get("filename") or "")).suffix.lower()


def bring(comfy: Comfy, entry: Json, name: str, fields: Json) -> None:
    """Announces the file as an artifact. Raises Failure, Cancelled."""
    media_type = MEDIA_TYPES[suffix_of(entry)]
    with report.write_artifact(name, media_type, **fields) as part:
        for attempt in range(ATTEMPTS):
            try:
                with part.open("wb") as file:
                    _copy(comfy, entry, file)
                return
            except Missing as missing:
                raise Failure("failed", str(missing), comfy_client.REMEDY) from missing
            except (Unreachable, OSError, http.client.HTTPException) as error:
                is_disk = getattr(error, "errno", None) in report.FULL_DISK_ERRNOS
                if attempt == ATTEMPTS - 1 or is_disk:
                    raise error if is_disk else _cut_off(comfy, error) from error
                report.log(f"the file came cut off ({error}); again")


def _copy(comfy: Comfy, entry: Json, file: BinaryIO) -> None:
    with comfy.view(entry) as response:
        total = int(response.headers.get("Content-Length") or 0)
        done = 0
        for block in _blocks(response):
            report.check_cancelled()
            file.write(block)
            done += len(block)
            report.progress("save", done, total or None)
    if total and done != total:
        raise Unreachable(f"{done} of {total} bytes")


def _blocks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while block := response.read(comfy_client.BLOCK_BYTES):
        yield block


def _cut_off(comfy: Comfy, error: Exception) -> Failure:
    return comfy_client.unreachable(comfy.where, f"the video came cut off ({error})")
