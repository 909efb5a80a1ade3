"""The band that says what a simulated picture is, with the prompt beneath it."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Any

Picture = Any
_DASHES = str.maketrans({"–": "-", "—": "-", "‑": "-", "×": "x", "ß": "ss", "\u00a0": " "})
_PROMPT_LINES = 3
_ACCENT = (255, 199, 92)
_WHITE = (244, 246, 250)


@dataclass(frozen=True)
class _Text:
    line: str
    font: Any
    colour: tuple[int, int, int]
    height: int


def stamp(canvas: Picture, label: str, prompt: str) -> None:
    """Draws the band over the picture's foot: `label`, then at most three lines of prompt."""
    texts = _texts(canvas.size, label, prompt)
    width, height = canvas.size
    margin = max(2, min(width, height) // 36)
    tall = min(height, sum(text.height for text in texts) + 2 * margin)
    _darken(canvas, tall, margin)
    from PIL import ImageDraw

    pen, y = ImageDraw.Draw(canvas), height - tall + margin
    for text in texts:
        pen.text((margin, y), text.line, font=text.font, fill=text.colour)
        y += text.height


def _texts(size: tuple[int, int], label: str, prompt: str) -> list[_Text]:
    from PIL import ImageFont

    width, height = size
    short = min(width, height)
    room = width - 2 * max(2, short // 36)
    head = max(9.0, short * 0.026)
    parts = label.split(" · ")
    if short < 160:  # a thumbnail has room for one word
        font = ImageFont.load_default(max(7.0, width / 9))
        return [_Text(parts[0], font, _ACCENT, round(max(7.0, width / 9) * 1.25))]
    font = ImageFont.load_default(head)
    lines = _wrap(_printable(label), font, room, 4, " · ")
    body = ImageFont.load_default(head * 0.86)
    texts = [_Text(line, font, _ACCENT, round(head * 1.4)) for line in lines]
    wrapped = _wrap(_printable(prompt), body, room, _PROMPT_LINES, " ")
    return texts + [_Text(line, body, _WHITE, round(head * 1.22)) for line in wrapped]


def _wrap(text: str, font: Any, room: int, limit: int, joint: str) -> list[str]:
    """Lines no wider than `room`; what does not fit into `limit` lines ends in an ellipsis."""
    lines: list[str] = []
    line = ""
    for word in text.split(joint):
        longer = f"{line}{joint}{word}" if line else word
        if font.getlength(longer) <= room:
            line = longer
            continue
        if line:
            lines.append(line)
        if len(lines) == limit:
            return [*lines[:-1], _cut(lines[-1] + " …", font, room)]
        line = _cut(word, font, room)
    return [*lines, line]


def _cut(text: str, font: Any, room: int) -> str:
    if font.getlength(text) <= room:
        return text
    text = text[:200]
    while text and font.getlength(text + "…") > room:
        text = text[:-1].rstrip(" …")
    return text + "…"


def _printable(text: str) -> str:
    """What Pillow's own font can draw: accents are taken off, other letters become boxes."""
    folded = unicodedata.normalize("NFKD", text[:2000].translate(_DASHES))
    kept = "".join(mark for mark in folded if not unicodedata.combining(mark))
    return " ".join(kept.split())


def _darken(canvas: Picture, tall: int, margin: int) -> None:
    """A dark panel with a soft upper edge, so that the text reads on any picture."""
    from PIL import Image

    width, height = canvas.size
    soft = min(2 * margin, height - tall)
    mask = Image.new("L", (width, tall + soft), 178)
    mask.paste(
        Image.linear_gradient("L")
        .resize((width, soft + 1))
        .point([v * 178 // 255 for v in range(256)]),
        (0, 0),
    )
    canvas.paste((9, 12, 20), (0, height - tall - soft), mask)
