"""Takes PNG, JPEG and WebP apart into their parts and puts them together, byte by byte. Pure."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from gpuctl.services import image_texts

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"

_KEYWORD = b"gpuctl"
_LINE_KEYWORD = b"parameters"
_MAX_RECEIPT_BYTES = 16 * 2**20

_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_EXTENSION = b"http://ns.adobe.com/xmp/extension/\0"
_EXIF = b"Exif\0\0"
_MAX_SEGMENT = 65_533
_EXTENSION_PART = 65_400
_APP0, _APP1, _SCAN = 0xE0, 0xE1, 0xDA

_EXIF_FLAG, _XMP_FLAG, _ALPHA_FLAG = 0x08, 0x04, 0x10


class Damaged(ValueError):
    """The bytes end early or do not follow the format."""


class Part(NamedTuple):
    """A chunk (PNG, WebP: four letters) or a segment (JPEG: its marker as one byte)."""

    kind: bytes
    data: bytes


def png_with(data: bytes, receipt: str, line: str | None) -> bytes:
    """`receipt` as compressed iTXt, `line` as tEXt (iTXt beyond Latin-1), before the pixels.
    `line` None keeps the line that is there."""
    header, *rest = png_parts(data)
    texts = [_png_text(_KEYWORD, receipt, packed=True)]
    replaced = [_KEYWORD]
    if line is not None:
        texts.append(_png_line(line))
        replaced.append(_LINE_KEYWORD)
    kept = [part for part in rest if _png_keyword(part) not in replaced]
    return PNG + b"".join(_png_chunk(part) for part in [header, *texts, *kept])


def png_receipt(data: bytes) -> str | None:
    for part in png_parts(data):
        if part.kind == b"iTXt" and _png_keyword(part) == _KEYWORD:
            return _png_read(part.data)
    return None


def png_parts(data: bytes) -> list[Part]:
    parts: list[Part] = []
    at = len(PNG)
    while not parts or parts[-1].kind != b"IEND":
        if at + 12 > len(data):
            raise Damaged("it ends early")
        size, kind = struct.unpack_from(">I4s", data, at)
        if at + 12 + size > len(data):
            raise Damaged("it ends early")
        body = data[at + 8 : at + 8 + size]
        if zlib.crc32(kind + body) != struct.unpack_from(">I", data, at + 8 + size)[0]:
            raise Damaged("a checksum in it is wrong")
        parts.append(Part(kind, body))
        at += 12 + size
    return parts


def _png_chunk(part: Part) -> bytes:
    checksum = zlib.crc32(part.kind + part.data)
    return struct.pack(">I4s", len(part.data), part.kind) + part.data + struct.pack(">I", checksum)


def _png_text(keyword: bytes, text: str, *, packed: bool) -> Part:
    body = text.encode(errors="backslashreplace")
    head = keyword + bytes([0, packed, 0, 0, 0])
    return Part(b"iTXt", head + (zlib.compress(body, 9) if packed else body))


def _png_line(line: str) -> Part:
    try:
        return Part(b"tEXt", _LINE_KEYWORD + b"\0" + line.encode("latin-1"))
    except UnicodeEncodeError:
        return _png_text(_LINE_KEYWORD, line, packed=False)


def _png_keyword(part: Part) -> bytes | None:
    return part.data.partition(b"\0")[0] if part.kind in (b"iTXt", b"tEXt", b"zTXt") else None


def _png_read(body: bytes) -> str:
    packed = body[len(_KEYWORD) + 1 : len(_KEYWORD) + 2] == b"\1"
    try:
        text = body[len(_KEYWORD) + 3 :].split(b"\0", 2)[2]
        unpacked = zlib.decompressobj().decompress(text, _MAX_RECEIPT_BYTES) if packed else text
        return unpacked.decode()
    except (IndexError, zlib.error, UnicodeDecodeError):
        raise Damaged("its receipt is damaged") from None


def jpeg_with(data: bytes, receipt: str, line: str | None) -> bytes:
    """`receipt` as XMP (extended XMP when it exceeds a segment), `line` as EXIF UserComment.

    Somebody else's EXIF is kept and ours left out; an XMP packet that is there is replaced.
    """
    parts, scan = jpeg_parts(data)
    kept = [part for part in parts if not _is_replaced(part)]
    has_exif = any(part.data.startswith(_EXIF) for part in kept)
    is_kept = has_exif or line is None
    exif = [] if is_kept else [Part(b"\xe1", _EXIF + image_texts.exif_block(line or ""))]
    first = sum(1 for part in kept if part.kind[0] == _APP0)
    placed = [*kept[:first], *exif, *kept[first:]]
    texts = _xmp_segments(image_texts.xmp_packet(receipt))
    after = first + len(exif)
    return b"\xff\xd8" + b"".join(map(_segment, [*placed[:after], *texts, *placed[after:]])) + scan


def jpeg_receipt(data: bytes) -> str | None:
    parts, _ = jpeg_parts(data)
    for part in parts:
        is_xmp = part.kind[0] == _APP1 and part.data.startswith(_XMP)
        if is_xmp and (found := image_texts.receipt_in(part.data)):
            return found
    pieces = sorted(
        (struct.unpack_from(">I", part.data, len(_EXTENSION) + 36)[0], part.data)
        for part in parts
        if part.data.startswith(_EXTENSION) and len(part.data) > len(_EXTENSION) + 40
    )
    return image_texts.receipt_in(b"".join(body[len(_EXTENSION) + 40 :] for _, body in pieces))


def jpeg_parts(data: bytes) -> tuple[list[Part], bytes]:
    """The segments before the pixels, and everything from the pixels on, unread."""
    parts, at = [], 2
    while True:
        while data[at : at + 2] == b"\xff\xff":
            at += 1
        if at + 4 > len(data) or data[at] != 0xFF:
            raise Damaged("it ends early" if at + 4 > len(data) else "a marker is missing in it")
        if data[at + 1] == _SCAN:
            break
        size = struct.unpack_from(">H", data, at + 2)[0]
        if size < 2 or at + 2 + size > len(data):
            raise Damaged("it ends early")
        parts.append(Part(data[at + 1 : at + 2], data[at + 4 : at + 2 + size]))
        at += 2 + size
    if data.find(b"\xff\xd9", at) < 0:
        raise Damaged("it ends early")
    return parts, data[at:]


def _is_replaced(part: Part) -> bool:
    if part.kind[0] != _APP1:
        return False
    if part.data.startswith(_EXIF):
        return image_texts.is_our_exif(part.data[len(_EXIF) :])
    return part.data.startswith((_XMP, _EXTENSION))


def _segment(part: Part) -> bytes:
    return b"\xff" + part.kind + struct.pack(">H", len(part.data) + 2) + part.data


def _xmp_segments(packet: bytes) -> Iterator[Part]:
    if len(_XMP) + len(packet) <= _MAX_SEGMENT:
        yield Part(b"\xe1", _XMP + packet)
        return
    # The format names the extension by its MD5; nothing is protected by it.
    name = hashlib.md5(packet, usedforsecurity=False).hexdigest().upper()
    yield Part(b"\xe1", _XMP + image_texts.xmp_pointer(name))
    for at in range(0, len(packet), _EXTENSION_PART):
        where = struct.pack(">II", len(packet), at)
        piece = packet[at : at + _EXTENSION_PART]
        yield Part(b"\xe1", _EXTENSION + name.encode() + where + piece)


def webp_with(data: bytes, receipt: str, line: str | None) -> bytes:
    """`receipt` as an XMP chunk, `line` as EXIF; a simple file becomes an extended one (VP8X).

    Somebody else's EXIF is kept and ours left out; an XMP chunk that is there is replaced.
    """
    parts = webp_parts(data)
    header = parts[0].data if parts[0].kind == b"VP8X" else _webp_header(parts[0])
    body = [part for part in parts if part.kind not in (b"VP8X", b"EXIF", b"XMP ")]
    theirs = [p for p in parts if p.kind == b"EXIF" and not image_texts.is_our_exif(p.data)]
    ours = [] if line is None else [Part(b"EXIF", image_texts.exif_block(line))]
    exif = theirs or ours
    flags = bytes([header[0] | (_EXIF_FLAG if exif else 0) | _XMP_FLAG])
    xmp = Part(b"XMP ", image_texts.xmp_packet(receipt))
    whole = [Part(b"VP8X", flags + header[1:]), *body, *exif, xmp]
    payload = b"WEBP" + b"".join(map(_webp_chunk, whole))
    return struct.pack("<4sI", b"RIFF", len(payload)) + payload


def webp_receipt(data: bytes) -> str | None:
    packets = [part.data for part in webp_parts(data) if part.kind == b"XMP "]
    return image_texts.receipt_in(packets[0]) if packets else None


def is_webp(data: bytes) -> bool:
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def webp_parts(data: bytes) -> list[Part]:
    end: int = 8 + struct.unpack_from("<I", data, 4)[0]
    if end > len(data) or end < 20:
        raise Damaged("it ends early")
    parts, at = [], 12
    while at + 8 <= end:
        kind, size = struct.unpack_from("<4sI", data, at)
        if at + 8 + size > end:
            raise Damaged("it ends early")
        parts.append(Part(kind, data[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2
    return parts


def _webp_chunk(part: Part) -> bytes:
    padding = b"\0" * (len(part.data) % 2)
    return struct.pack("<4sI", part.kind, len(part.data)) + part.data + padding


def _webp_header(image: Part) -> bytes:
    """A VP8X header for a simple file: its size and whether it has transparency."""
    width: int
    height: int
    if image.kind == b"VP8 " and image.data[3:6] == b"\x9d\x01\x2a":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", image.data, 6))
        flags = 0
    elif image.kind == b"VP8L" and image.data[:1] == b"\x2f" and len(image.data) > 5:
        packed = struct.unpack_from("<I", image.data, 1)[0]
        width, height = (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
        flags = _ALPHA_FLAG if packed >> 28 & 1 else 0
    else:
        raise Damaged("it holds no picture")
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes([flags, 0, 0, 0]) + sides
