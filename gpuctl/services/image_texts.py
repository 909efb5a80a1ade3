"""The texts inside pictures: XMP packets with the receipt, EXIF with the human line. Pure."""

from __future__ import annotations

import re
import struct

_NAMESPACE = "urn:gpuctl:receipt:1#"
_PACKET = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:gpuctl="{namespace}">{property}</rdf:Description>'
    '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
)
_RECEIPT = re.compile(rb"<gpuctl:receipt>(.*?)</gpuctl:receipt>", re.DOTALL)
_ESCAPES = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"))

_SOFTWARE, _EXIF_POINTER, _USER_COMMENT = 0x0131, 0x8769, 0x9286
_ASCII, _LONG, _UNDEFINED = 2, 4, 7
_OURS = b"gpuctl\0"
# An EXIF block has to fit one JPEG segment; the human line is shortened, the receipt is not.
MAX_COMMENT_CHARACTERS = 30_000


def xmp_packet(receipt: str) -> bytes:
    """One packet that holds the receipt as text."""
    for plain, escaped in _ESCAPES:
        receipt = receipt.replace(plain, escaped)
    return _packet(f"<gpuctl:receipt>{receipt}</gpuctl:receipt>")


def xmp_pointer(extension_id: str) -> bytes:
    """The short packet that points to an extended one (XMP part 3, §1.1.3.1)."""
    return _packet(
        '<xmpNote:HasExtendedXMP xmlns:xmpNote="http://ns.adobe.com/xmp/note/">'
        f"{extension_id}</xmpNote:HasExtendedXMP>"
    )


def _packet(text: str) -> bytes:
    return _PACKET.format(namespace=_NAMESPACE, property=text).encode(errors="backslashreplace")


def receipt_in(packet: bytes) -> str | None:
    """The receipt of an XMP packet, None when it is somebody else's."""
    found = _RECEIPT.search(packet)
    if found is None:
        return None
    text = found[1].decode("utf-8", "replace")
    for plain, escaped in reversed(_ESCAPES):
        text = text.replace(escaped, plain)
    return text


def exif_block(parameters: str) -> bytes:
    """A TIFF block: Software, and the line as UserComment in UTF-16, where A1111 puts it."""
    line = parameters[:MAX_COMMENT_CHARACTERS]
    comment = b"UNICODE\0" + line.encode("utf-16-be", "replace")
    # Header 8, then a directory of two entries (2 + 2×12 + 4), the software name, and the
    # directory of one entry (2 + 12 + 4) that the pointer leads to.
    software_at, sub_at = 38, 46
    comment_at = sub_at + 18
    return b"".join(
        (
            struct.pack(">2sHI", b"MM", 42, 8),
            struct.pack(">H", 2),
            struct.pack(">HHII", _SOFTWARE, _ASCII, len(_OURS), software_at),
            struct.pack(">HHII", _EXIF_POINTER, _LONG, 1, sub_at),
            struct.pack(">I", 0),
            _OURS.ljust(sub_at - software_at, b"\0"),
            struct.pack(">H", 1),
            struct.pack(">HHII", _USER_COMMENT, _UNDEFINED, len(comment), comment_at),
            struct.pack(">I", 0),
            comment,
        )
    )


def is_our_exif(block: bytes) -> bool:
    return block[38 : 38 + len(_OURS)] == _OURS
