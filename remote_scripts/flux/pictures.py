"""Pictures in and out: the initial image as the pipeline wants it, the result as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flux.request import Request
from worker import report
from worker.fields import bad_input

Picture = Any
MEDIA_TYPES = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}
_PILLOW_NAMES = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP"}
# From this quality on nobody wants colour at half resolution.
_FULL_COLOUR_QUALITY = 95
_MAX_INITIAL_PIXELS = 100_000_000


def save(picture: Picture, path: Path, format_name: str, quality: int) -> None:
    """Writes `picture` as `format_name`, whatever the path ends in. `quality` is not for PNG."""
    options: dict[str, Any] = {"quality": quality}
    if format_name == "png":
        # Level 3 takes a third of the time of Pillow's 6 for a few percent of size.
        options = {"compress_level": 3}
    elif format_name == "jpg":
        options["subsampling"] = 0 if quality >= _FULL_COLOUR_QUALITY else 2
    picture.convert("RGB").save(path, format=_PILLOW_NAMES[format_name], **options)


def open_initial(request: Request) -> Picture:
    """The initial image upright, in RGB, cut and scaled to the request's size.

    Raises Failure (bad_input) when it is not there or not a picture.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    name = request.init_image or ""
    path = report.inside_workspace(name)
    try:
        with Image.open(path) as file:
            if file.width * file.height > _MAX_INITIAL_PIXELS:
                raise bad_input(
                    f"the initial image has {file.width}×{file.height} pixels",
                    f"send one of at most {_MAX_INITIAL_PIXELS // 1_000_000} megapixels",
                )
            picture = ImageOps.exif_transpose(file).convert("RGB")
    except FileNotFoundError:
        raise bad_input(f"no initial image at {name}", "upload it before the job") from None
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError) as error:
        raise bad_input(
            f"the initial image cannot be read: {error}", "send a PNG, JPEG or WebP"
        ) from error
    return ImageOps.fit(picture, (request.width, request.height), Image.Resampling.LANCZOS)
