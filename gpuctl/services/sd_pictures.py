"""What a picture says about itself: Automatic1111's parameters and gpuctl's receipt."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from gpuctl.errors import GpuctlError, NotFound, UsageError
from gpuctl.models import Json
from gpuctl.services import receipts
from gpuctl.workloads.sd_infotext import Infotext, parse

_EXIF, _USER_COMMENT = 0x8769, 0x9286


@dataclass(frozen=True, slots=True)
class Found:
    """`text` is the line as it stands in the file; `receipt` is gpuctl's, None without one."""

    text: str
    infotext: Infotext
    receipt: Json | None


def read(path: Path) -> Found:
    """Raises NotFound when the picture says nothing, UsageError when it is none."""
    if not path.exists():
        raise NotFound(f"there is no file {path}")
    text = _parameters(path)
    try:
        receipt = receipts.read(path)
    except GpuctlError:
        receipt = None
    if not text and receipt is None:
        raise NotFound(
            f"{path} says nothing about how it was made",
            hint="pictures lose their parameters when another program re-encodes them",
        )
    return Found(text, parse(text), receipt)


def command_line(found: Infotext) -> str:
    """The `gpuctl sd txt2img …` that asks for the same; "" where too little is known."""
    if not found.prompt or "Steps" not in found.parameters:
        return ""
    words = ["gpuctl", "sd", "txt2img", found.prompt]
    if found.negative:
        words += ["--negative", found.negative]
    for name, option in (
        ("Size", "--size"),
        ("Steps", "--steps"),
        ("CFG scale", "--cfg"),
        ("Sampler", "--sampler"),
        ("Schedule type", "--scheduler"),
        ("Seed", "--seed"),
        ("Model", "--model"),
        ("Clip skip", "--clip-skip"),
    ):
        if value := found.parameters.get(name):
            words += [option, value]
    return shlex.join(words)


def _parameters(path: Path) -> str:
    """The text chunk of a PNG, the EXIF comment of a JPEG or WebP; "" without one."""
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415  only here

    try:
        with Image.open(path) as file:
            said = file.info.get("parameters")
            comment = file.getexif().get_ifd(_EXIF).get(_USER_COMMENT)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError) as error:
        raise UsageError(
            f"{path} is not a picture: {error}", hint="give a PNG, JPEG or WebP"
        ) from None
    if isinstance(said, str):
        return said
    return _decoded(comment) if isinstance(comment, bytes) else ""


def _decoded(comment: bytes) -> str:
    """EXIF says the code in its first eight bytes; A1111 and gpuctl write UTF-16."""
    code, text = comment[:8], comment[8:]
    if code.startswith(b"UNICODE"):
        order = "utf-16-le" if text[1:2] == b"\0" else "utf-16-be"
        return text.decode(order, errors="replace").strip("\0")
    return text.decode("utf-8", errors="replace").strip("\0")
