"""The still and the end image of a request: by path, by URL or as base64, known by their bytes."""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from dataclasses import dataclass
from pathlib import Path

from video import models, web
from worker import report
from worker.report import Failure

LIMIT_BYTES = 50 << 20
MOST_PIXELS = 100_000_000
PICTURES_ONLY = "send a PNG, JPEG or WebP"


@dataclass(frozen=True)
class Source:
    """One of the three. `path` is in the workspace or on the volume."""

    path: str | None = None
    url: str | None = None
    base64: str | None = None


@dataclass(frozen=True)
class Picture:
    """An image file as bytes, with its size in pixels as it is shown."""

    content: bytes
    suffix: str
    width: int
    height: int

    @property
    def name(self) -> str:
        """From the content: the same picture is uploaded once, another never replaces it."""
        return f"gpuctl-{hashlib.sha256(self.content).hexdigest()[:32]}{self.suffix}"


def load(source: Source, what: str, door: web.Door | None = None) -> Picture:
    """Raises Failure(bad_input) when it is not there, too large or no picture."""
    content = _content(source, what, door)
    if len(content) > LIMIT_BYTES:
        raise Failure(
            "bad_input", f"{what} has more than {LIMIT_BYTES >> 20} MB", "send a smaller one"
        )
    try:
        suffix, width, height = measured(content)
    except (ValueError, IndexError, struct.error):
        raise Failure(
            "bad_input", f"{what} is not a picture that can be read", PICTURES_ONLY
        ) from None
    if not 0 < width * height <= MOST_PIXELS:
        raise Failure("bad_input", f"{what} has {width}×{height} pixels", "send a smaller one")
    return Picture(content, suffix, width, height)


def measured(content: bytes) -> tuple[str, int, int]:
    """Suffix, width and height. Raises ValueError, struct.error, IndexError."""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        width, height = struct.unpack(">II", content[16:24])
        return ".png", width, height
    if content.startswith(b"\xff\xd8\xff"):
        return (".jpg", *_jpeg_size(content))
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return (".webp", *_webp_size(content))
    raise ValueError("no picture")


def _content(source: Source, what: str, door: web.Door | None) -> bytes:
    if source.path is not None:
        return _file(source.path, what).read_bytes()
    if source.url is not None:
        report.loading("image", f"fetching {what}")
        try:
            return web.fetch(source.url, limit_bytes=LIMIT_BYTES, door=door)
        except web.Dropped as drop:
            raise Failure("bad_input", f"{what} cannot be fetched: {drop}", "try again") from drop
    text = (source.base64 or "").strip()
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise Failure("bad_input", f"{what} is not base64", PICTURES_ONLY) from None


def _file(path: str, what: str) -> Path:
    """A file of the workspace or of the volume; nothing else of the machine is read."""
    missing = Failure("bad_input", f"there is no {what} at {path}", "upload it before the job")
    if not path.startswith("/"):
        found = report.inside_workspace(path)
    else:
        roots = [report.workspace().resolve(), models.volume().resolve()]
        found = Path(path).resolve() if "\0" not in path else Path("/")
        if not any(root in found.parents for root in roots):
            raise Failure(
                "bad_input",
                f"{what} is outside the workspace and the volume: {path!r}",
                f"put it under {' or '.join(map(str, dict.fromkeys(roots)))}",
            )
    if not found.is_file():
        raise missing
    if found.stat().st_size > LIMIT_BYTES:
        raise Failure(
            "bad_input", f"{what} has more than {LIMIT_BYTES >> 20} MB", "send a smaller one"
        )
    return found


def _jpeg_size(content: bytes) -> tuple[int, int]:
    """From the frame header; turned where the camera was (EXIF orientation 5 to 8)."""
    at, is_turned = 2, False
    while True:
        if content[at] != 0xFF:
            raise ValueError("no marker")
        kind = content[at + 1]
        if kind == 0xFF:
            at += 1
            continue
        length = struct.unpack(">H", content[at + 2 : at + 4])[0]
        body = content[at + 4 : at + 2 + length]
        if kind == 0xE1 and body.startswith(b"Exif\0\0"):
            is_turned = _orientation(body[6:]) >= 5
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", body[1:5])
            return (height, width) if is_turned else (width, height)
        at += 2 + length


def _orientation(tiff: bytes) -> int:
    try:
        order = {b"II": "<", b"MM": ">"}[tiff[:2]]
        start = struct.unpack(f"{order}I", tiff[4:8])[0]
        count = struct.unpack(f"{order}H", tiff[start : start + 2])[0]
        for index in range(count):
            entry = tiff[start + 2 + 12 * index :][:12]
            if struct.unpack(f"{order}H", entry[:2])[0] == 0x0112:
                return int(struct.unpack(f"{order}H", entry[8:10])[0])
    except (KeyError, struct.error):
        pass
    return 1


def _webp_size(content: bytes) -> tuple[int, int]:
    kind = content[12:16]
    if kind == b"VP8X":
        width, height = content[24:27], content[27:30]
        return 1 + int.from_bytes(width, "little"), 1 + int.from_bytes(height, "little")
    if kind == b"VP8L":
        bits = int.from_bytes(content[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack("<HH", content[26:30])
    return width & 0x3FFF, height & 0x3FFF
