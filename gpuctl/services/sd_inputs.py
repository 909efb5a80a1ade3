"""Local pictures as inputs of a job: measured, refused, made smaller to travel."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gpuctl.errors import NotFound, UsageError
from gpuctl.workloads import sd

# SD 1.5 is trained at 512²; above a megapixel it repeats what it paints.
MOST_PIXELS_UNASKED = 1_048_576
# What a queue carries beside its base64 (runpod.md §4). Below it, the file travels as it is.
LARGE_BYTES = 2_000_000
_TURNED_FROM = 5
_ORIENTATION = 0x0112


@dataclass(frozen=True, slots=True)
class Picture:
    """A local file and its size in pixels, upright."""

    path: Path
    width: int
    height: int


def measured(text: str, what: str) -> Picture:
    """Raises NotFound; UsageError for what is no picture or is too large to be of use."""
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415  only with a picture

    path = Path(text).expanduser()
    if not path.exists():
        raise NotFound(f"there is no file {path}")
    try:
        with Image.open(path) as file:
            width, height = file.size
            # Phones write a turned picture and say so in its EXIF.
            if file.getexif().get(_ORIENTATION, 1) >= _TURNED_FROM:
                width, height = height, width
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError) as error:
        raise UsageError(
            f"{what} {path} cannot be read: {error}", hint="give a PNG, JPEG or WebP"
        ) from None
    if width * height > sd.MAX_PIXELS:
        raise UsageError(
            f"{what} {path} has {width}x{height} pixels ({width * height / 1e6:.1f} megapixels)",
            hint=f"{sd.MAX_PIXELS / 1e6:.1f} megapixels are the most: make it smaller first",
        )
    return Picture(path, width, height)


def fitting(picture: Picture) -> tuple[int, int]:
    """The size to paint it at when nothing was asked for: its shape, at most one megapixel, in
    steps of 8."""
    scale = min(1.0, (MOST_PIXELS_UNASKED / (picture.width * picture.height)) ** 0.5)
    sides = (
        int(side * scale) // sd.MULTIPLE * sd.MULTIPLE for side in (picture.width, picture.height)
    )
    width, height = (max(sd.MIN_SIDE, side) for side in sides)
    return width, height


def to_send(picture: Picture, size: tuple[int, int], cache: Path) -> Path:
    """The file itself, or a copy that is no larger than what the WebUI makes of it anyway: the
    same shape, covering `size`. Raises UsageError."""
    covering = max(size[0] / picture.width, size[1] / picture.height)
    if picture.path.stat().st_size <= LARGE_BYTES or covering >= 1:
        return picture.path
    wanted = (round(picture.width * covering), round(picture.height * covering))
    with picture.path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    stem = cache / "sd" / f"{digest[:24]}-{wanted[0]}x{wanted[1]}"
    made = _first(stem.with_suffix(suffix) for suffix in (".png", ".jpg"))
    return made or _smaller(picture, wanted, stem)


def _smaller(picture: Picture, size: tuple[int, int], stem: Path) -> Path:
    """As PNG; as JPEG where that is still large. Kept in the cache: a replay asks for it again."""
    from PIL import Image, ImageOps  # noqa: PLC0415  loaded already

    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(picture.path) as file:
            image = ImageOps.exif_transpose(file).convert("RGB")
        image = image.resize(size, Image.Resampling.LANCZOS)
        part = stem.with_suffix(".part")
        image.save(part, format="PNG")
        target = stem.with_suffix(".png")
        if part.stat().st_size > LARGE_BYTES:
            image.save(part, format="JPEG", quality=95)
            target = stem.with_suffix(".jpg")
        return part.replace(target)
    except OSError as error:
        raise UsageError(f"{picture.path} cannot be made smaller: {error}") from error


def _first(paths: Iterable[Path]) -> Path | None:
    return next((path for path in paths if path.exists()), None)
