"""Pictures as they cross the stand-in's API: base64 in, base64 with parameters out."""

from __future__ import annotations

import base64
import io
from typing import Any

from sd.sim_world import ApiError

Picture = Any


def decoded(text: str) -> Picture:
    """A base64 picture, with or without its data: prefix. Raises ApiError(500) as A1111 does."""
    from PIL import Image

    if text.startswith(("http://", "https://")):
        raise ApiError(500, "Requests not allowed")
    if text.startswith("data:image/"):
        text = text.partition(",")[2]
    try:
        picture = Image.open(io.BytesIO(base64.b64decode(text)))
        picture.load()
    except (ValueError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ApiError(500, "Invalid encoded image") from error
    return picture


def encoded(picture: Picture, parameters: str, format_name: str, quality: int) -> str:
    """base64 of the picture with its parameters, in the format of the option."""
    from PIL import PngImagePlugin

    buffer = io.BytesIO()
    if format_name == "png":
        note = PngImagePlugin.PngInfo()
        if parameters:
            note.add_text("parameters", parameters)
        picture.save(buffer, format="PNG", pnginfo=note, compress_level=3)
    else:
        exif = picture.getexif()
        exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + parameters.encode("utf-16-be")
        kind = {"jpg": "JPEG", "jpeg": "JPEG", "webp": "WEBP"}[format_name]
        picture.convert("RGB").save(buffer, format=kind, quality=quality, exif=exif)
    return base64.b64encode(buffer.getvalue()).decode()


def grid(pictures: list[Picture]) -> Picture:
    """The sheet that A1111 puts before the pictures of a batch."""
    from PIL import Image

    columns = max(1, round(len(pictures) ** 0.5))
    rows = -(-len(pictures) // columns)
    width, height = pictures[0].size
    sheet = Image.new("RGB", (columns * width, rows * height))
    for index, picture in enumerate(pictures):
        sheet.paste(picture, (index % columns * width, index // columns * height))
    return sheet
