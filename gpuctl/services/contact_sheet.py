"""A contact sheet: the pictures of a grid side by side, each axis labelled. Local, with Pillow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

# What a viewer still opens with ease; larger pictures are made smaller for the sheet alone.
MAX_SIDE = 8192
_PAPER, _INK, _FAINT = (250, 250, 248), (24, 26, 32), (120, 124, 134)


@dataclass(frozen=True, slots=True)
class Sheet:
    """Labels of the columns and rows, a title, and the picture of each (column, row).

    A cell without a picture is drawn as a gap that says so.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[str]
    pictures: Mapping[tuple[int, int], Path]


def write(sheet: Sheet, target: Path) -> tuple[int, int]:
    """Draws and writes it as PNG; its size in pixels. Raises OSError."""
    drawn = draw(sheet)
    part = target.with_name(f".{target.name}.part")
    drawn.save(part, format="PNG", compress_level=3)
    part.replace(target)
    return drawn.size


def draw(sheet: Sheet) -> Image:
    from PIL import Image, ImageDraw  # noqa: PLC0415  only for a grid

    cell = _cell(sheet)
    gap = max(4, min(cell) // 48)
    left, top = _margins(sheet, cell, gap)
    width = left + len(sheet.columns) * (cell[0] + gap) + gap
    height = top + len(sheet.rows) * (cell[1] + gap) + gap
    canvas = Image.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(canvas)
    large, small = _fonts(cell)
    pen.text((gap * 2, gap), _cut(sheet.title, small, width - 4 * gap), font=small, fill=_FAINT)
    for column, text in enumerate(sheet.columns):
        middle = left + gap + column * (cell[0] + gap) + cell[0] / 2
        shown = _cut(text, large, cell[0])
        pen.text((middle, top - gap), shown, font=large, fill=_INK, anchor="ms")
    for row, text in enumerate(sheet.rows):
        y = top + gap + row * (cell[1] + gap)
        for number, line in enumerate(_lines(text)):
            place = (left - gap, y + cell[1] / 2 + number * large.size * 1.25)
            pen.text(place, _cut(line, large, left - 2 * gap), font=large, fill=_INK, anchor="rm")
        for column in range(len(sheet.columns)):
            x = left + gap + column * (cell[0] + gap)
            _paste(canvas, pen, sheet.pictures.get((column, row)), (x, y), cell, small)
    return canvas


def _paste(
    canvas: Image,
    pen: Any,
    file: Path | None,
    corner: tuple[int, int],
    cell: tuple[int, int],
    font: Any,
) -> None:
    from PIL import Image  # noqa: PLC0415  loaded already

    x, y = corner
    if file is None:
        pen.rectangle((x, y, x + cell[0] - 1, y + cell[1] - 1), outline=_FAINT)
        middle = (x + cell[0] / 2, y + cell[1] / 2)
        pen.text(middle, "no picture", font=font, fill=_FAINT, anchor="mm")
        return
    with Image.open(file) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail(cell, Image.Resampling.LANCZOS)
    canvas.paste(picture, (x + (cell[0] - picture.width) // 2, y + (cell[1] - picture.height) // 2))


def _cell(sheet: Sheet) -> tuple[int, int]:
    """The largest picture, made smaller until the whole sheet fits into MAX_SIDE."""
    from PIL import Image  # noqa: PLC0415  loaded already

    width, height = 64, 64
    for file in sheet.pictures.values():
        with Image.open(file) as opened:
            width, height = max(width, opened.width), max(height, opened.height)
    room = min(
        MAX_SIDE * 0.9 / (width * len(sheet.columns)),
        MAX_SIDE * 0.9 / (height * len(sheet.rows)),
        1.0,
    )
    return max(32, int(width * room)), max(32, int(height * room))


def _fonts(cell: tuple[int, int]) -> tuple[Any, Any]:
    from PIL import ImageFont  # noqa: PLC0415  loaded already

    points = max(11.0, min(cell) / 16)
    return ImageFont.load_default(points), ImageFont.load_default(max(10.0, points * 0.8))


def _margins(sheet: Sheet, cell: tuple[int, int], gap: int) -> tuple[int, int]:
    large, small = _fonts(cell)
    lines = [line for text in sheet.rows for line in _lines(text)]
    widest = max((large.getlength(line) for line in lines), default=0)
    left = round(min(widest, cell[0] * 0.8)) + 3 * gap if any(sheet.rows) else gap
    return left, round(small.size * 1.4 + large.size * 1.5) + 3 * gap


def _lines(text: str) -> list[str]:
    """`cfg 7` stays on one line; a long name goes under the word that says what it is."""
    head, _, rest = text.partition(" ")
    return [text] if len(text) <= 12 or not rest else [head, rest]


def _cut(text: str, font: Any, room: float) -> str:
    """The text, shortened with an ellipsis until it is no wider than `room` pixels."""
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + "…") > room:
        text = text[:-1]
    return text.rstrip() + "…"
