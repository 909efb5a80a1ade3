"""Pictures that come with a job: decoded far enough to know that they are pictures, and how large.

The WebUI decodes them itself, in the GPU's process, and answers 500 to whatever is wrong.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Iterator
from typing import Any

from sd.words import bad_input
from worker import report

# 4096 × 4096: more than the models can use, and 50 MB once it is decoded.
MAX_PIXELS = 16_777_216
MAX_BYTES = 32_000_000
_SHOWN = 40


def from_text(text: object, where: str) -> str:
    """base64 without a data: prefix, of a picture that may be sent. Raises Failure (bad_input)."""
    if not isinstance(text, str) or not text.strip():
        raise bad_input(f"{where} is not a picture", "send it as base64, or as a data: URL")
    if text.startswith(("http://", "https://")):
        raise bad_input(f"{where} is an address", "send the picture itself as base64")
    content = text.partition(",")[2] if text.startswith("data:") else text
    content = "".join(content.split())
    try:
        data = base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError) as error:
        shown = content[:_SHOWN] + ("…" if len(content) > _SHOWN else "")
        raise bad_input(
            f"{where} is not base64: {shown}", f"send a picture's bytes as base64 ({error})"
        ) from None
    _check(data, where)
    return content


def from_file(name: str, where: str) -> str:
    """base64 of a picture in the workspace. Raises Failure (bad_input)."""
    path = report.inside_workspace(name)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise bad_input(
            f"{where}: no picture at {name}: {error.strerror}", "upload it before the job"
        ) from None
    _check(data, where)
    return base64.b64encode(data).decode()


def take(document: dict[str, Any]) -> dict[str, Any]:
    """The keys of a body that hold pictures, checked; files of the workspace are read in."""
    found: dict[str, Any] = {}
    images = list(document.get("init_images") or ())
    texts = [from_text(text, f"init_images[{index}]") for index, text in enumerate(images)]
    for name in document.get("init_files") or ():
        texts.append(from_file(name, "init_files"))
    if texts:
        found["init_images"] = texts
    for key, file_key in (("mask", "mask_file"), ("image", "image_file")):
        if document.get(file_key):
            found[key] = from_file(document[file_key], file_key)
        elif document.get(key):
            found[key] = from_text(document[key], key)
    return found


def size_of(data: bytes) -> tuple[int, int] | None:
    """Width and height of a PNG, JPEG, WebP or GIF, from its head alone; None for others."""
    if data.startswith(b"\x89PNG\r\n\x1a\n") and len(data) >= 24:
        return struct.unpack(">II", data[16:24])
    if data.startswith(b"\xff\xd8"):
        return next(_jpeg_frames(data), None)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp_size(data)
    if data[:6] in (b"GIF87a", b"GIF89a") and len(data) >= 10:
        return struct.unpack("<HH", data[6:10])
    return None


def media_type(data: bytes) -> tuple[str, str]:
    """(suffix, media type) of a picture that the WebUI sent."""
    if data.startswith(b"\xff\xd8"):
        return "jpg", "image/jpeg"
    if data[8:12] == b"WEBP":
        return "webp", "image/webp"
    return "png", "image/png"


def _check(data: bytes, where: str) -> None:
    if len(data) > MAX_BYTES:
        raise bad_input(
            f"{where} has {len(data) / 1e6:.0f} MB", f"send at most {MAX_BYTES / 1e6:.0f} MB"
        )
    size = size_of(data)
    if size is None:
        raise bad_input(f"{where} is not a picture that is known here", "send PNG, JPEG or WebP")
    width, height = size
    if not width or not height or width * height > MAX_PIXELS:
        raise bad_input(
            f"{where} has {width}×{height} pixels ({width * height / 1e6:.1f} megapixels)",
            f"send at most {MAX_PIXELS / 1e6:.1f} megapixels: make it smaller first",
        )


def _jpeg_frames(data: bytes) -> Iterator[tuple[int, int]]:
    """Sizes in the frame headers (SOF0 to SOF15, less the three that are none)."""
    place = 2
    while place + 9 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[place + 5 : place + 9])
            yield width, height
        is_bare = marker == 0xFF or 0xD0 <= marker <= 0xD9
        place += 1 if marker == 0xFF else 2
        if not is_bare:
            place += struct.unpack(">H", data[place : place + 2])[0]


def _webp_size(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X" and len(data) >= 30:
        return (
            int.from_bytes(data[24:27], "little") + 1,
            int.from_bytes(data[27:30], "little") + 1,
        )
    if kind == b"VP8 " and len(data) >= 30:
        width, height = struct.unpack("<HH", data[26:30])
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L" and len(data) >= 25:
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return None
