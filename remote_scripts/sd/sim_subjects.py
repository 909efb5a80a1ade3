"""What a simulated picture shows: a person, or a landscape, in the colours its words call for."""

from __future__ import annotations

import colorsys
import hashlib
import math
import random
import re
from typing import Any

Picture = Any
Colour = tuple[int, int, int]

_PEOPLE = frozenset(
    [
        "portrait",
        "person",
        "woman",
        "man",
        "girl",
        "boy",
        "face",
        "lady",
        "astronaut",
        "king",
        "queen",
        "child",
        "people",
        "selfie",
    ]
)
_SNOW = frozenset(["winter", "snow", "snowy", "ice", "frost", "blizzard"])
# Word → hue of sky and ground (degrees), brightness of the sky.
_MOODS: dict[str, tuple[int, int, float]] = {
    "winter": (205, 210, 0.93), "snow": (205, 210, 0.93), "ice": (195, 205, 0.9),
    "autumn": (32, 24, 0.9), "sunset": (18, 265, 0.85), "dusk": (265, 230, 0.55),
    "night": (232, 240, 0.22), "forest": (95, 130, 0.7), "summer": (200, 100, 0.95),
    "spring": (190, 88, 0.95), "sea": (200, 195, 0.85), "desert": (36, 30, 0.92),
    "neon": (300, 190, 0.3), "red": (4, 355, 0.75), "blue": (215, 222, 0.75),
    "green": (120, 135, 0.7), "gold": (46, 38, 0.85),
}  # fmt: skip


def scene(prompt: str, size: tuple[int, int], chance: random.Random) -> Picture:
    """The picture without what sampling does to it; nothing here depends on steps or guidance."""
    words = _words(prompt)
    ground_hue, sky_hue, light = _mood(words, chance)
    canvas = _sky(size, sky_hue, light)
    if words & _PEOPLE:
        _person(canvas, chance, ground_hue)
    else:
        _land(canvas, chance, ground_hue, light)
    return weather(canvas, prompt, chance, 1.0)


def weather(canvas: Picture, prompt: str, chance: random.Random, strength: float) -> Picture:
    """Snow over everything where the words ask for winter, as dense as `strength` 0–1."""
    if not _words(prompt) & _SNOW:
        return canvas
    from PIL import Image, ImageDraw, ImageFilter

    width, height = canvas.size
    cold = Image.blend(canvas, Image.new("RGB", canvas.size, (196, 214, 236)), 0.3 * strength)
    flakes = Image.new("L", canvas.size)
    pen = ImageDraw.Draw(flakes)
    for _ in range(round(260 * strength)):
        x, y = chance.random() * width, chance.random() * height
        r = chance.uniform(0.0015, 0.008) * min(width, height)
        pen.ellipse((x - r, y - r, x + r, y + r), fill=chance.randint(140, 255))
    flakes = flakes.filter(ImageFilter.GaussianBlur(min(width, height) / 500))
    cold.paste((250, 252, 255), (0, 0), flakes)
    return cold


def colour_of(name: str) -> Colour:
    """A strong colour that belongs to a name."""
    return _colour(hashlib.sha256(name.encode()).digest()[0] / 255 * 360, 0.75, 0.9)


def _words(prompt: str) -> set[str]:
    return set(re.findall(r"[a-z]+", prompt.lower()))


def _mood(words: set[str], chance: random.Random) -> tuple[int, int, float]:
    for word, mood in _MOODS.items():
        if word in words:
            return mood
    hue = chance.randrange(360)
    return hue, (hue + 150) % 360, chance.uniform(0.6, 0.95)


def _colour(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue % 360 / 360, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def _sky(size: tuple[int, int], hue: int, light: float) -> Picture:
    from PIL import Image

    strip = Image.new("RGB", (1, 64))
    for row in range(64):
        share = row / 63
        strip.putpixel((0, row), _colour(hue + 25 * share, 0.6 - 0.4 * share, light))
    return strip.resize(size, Image.Resampling.BICUBIC)


def _land(canvas: Picture, chance: random.Random, hue: int, light: float) -> None:
    """A sun and four ranges of hills, the nearest the darkest."""
    from PIL import Image, ImageDraw

    width, height = canvas.size
    layer = canvas.resize((width * 2, height * 2)) if width * height < 1_500_000 else canvas.copy()
    pen, (wide, high) = ImageDraw.Draw(layer), layer.size
    x, y, r = (
        chance.uniform(0.2, 0.8) * wide,
        chance.uniform(0.14, 0.32) * high,
        0.08 * min(layer.size),
    )
    pen.ellipse((x - r, y - r, x + r, y + r), fill=_colour(hue + 20, 0.25, 1.0))
    for index in range(4):
        waves = [(chance.uniform(1, 5 + index), chance.uniform(0, 6.3), chance.uniform(0.02, 0.06))
                 for _ in range(3)]  # fmt: skip
        foot = high * (0.48 + 0.13 * index)
        points = [
            (step * wide / 96,
             foot - high * sum(a * math.sin(f * step / 96 * 6.3 + p) for f, p, a in waves))
            for step in range(97)
        ]  # fmt: skip
        shade = _colour(hue, 0.3 + 0.12 * index, max(0.12, light * (0.8 - 0.17 * index)))
        pen.polygon([*points, (wide, high), (0, high)], fill=shade)
    canvas.paste(layer.resize(canvas.size, Image.Resampling.LANCZOS))


def _person(canvas: Picture, chance: random.Random, hue: int) -> None:
    """Head and shoulders, from the front."""
    from PIL import Image, ImageDraw, ImageFilter

    width, height = canvas.size
    scale = 2 if width * height < 1_500_000 else 1
    layer = canvas.filter(ImageFilter.GaussianBlur(min(canvas.size) / 40))
    layer = layer.resize((width * scale, height * scale))
    pen, unit = ImageDraw.Draw(layer), min(layer.size) / 100
    cx, cy = layer.width / 2 + chance.uniform(-6, 6) * unit, layer.height * 0.42
    skin = _colour(chance.uniform(14, 32), chance.uniform(0.25, 0.6), chance.uniform(0.5, 0.95))
    hair = _colour(chance.choice((20, 28, 40, 350, 15)), 0.6, chance.uniform(0.12, 0.75))
    coat = _colour(hue + chance.uniform(-20, 20), 0.55, chance.uniform(0.3, 0.8))

    def oval(x: float, y: float, rx: float, ry: float, fill: Colour) -> None:
        x, y = cx + x * unit, cy + y * unit
        pen.ellipse((x - rx * unit, y - ry * unit, x + rx * unit, y + ry * unit), fill=fill)

    length = chance.uniform(2, 16)
    oval(0, length / 2 - 2, 19 + length / 6, 24 + length, hair)
    oval(0, 62, 40, 34, coat)
    pen.rectangle(
        (cx - 6 * unit, cy + 12 * unit, cx + 6 * unit, cy + 32 * unit), fill=_darker(skin)
    )
    oval(0, 0, 15, 20, skin)
    pen.pieslice(
        (cx - 16 * unit, cy - 23 * unit, cx + 16 * unit, cy + 9 * unit), 180, 360, fill=hair
    )
    oval(0, -1, 14, 9, skin)
    _features(oval, chance, skin)
    canvas.paste(layer.resize(canvas.size, Image.Resampling.LANCZOS))


def _features(oval: Any, chance: random.Random, skin: Colour) -> None:
    eyes = _colour(chance.choice((200, 120, 30, 25)), 0.6, 0.5)
    for side in (-6, 6):
        oval(side, -1, 2.9, 1.7, (245, 245, 245))
        oval(side + chance.uniform(-0.4, 0.4), -1, 1.5, 1.5, eyes)
        oval(side, -1, 0.7, 0.7, (15, 15, 20))
        oval(side, -4.6, 3.4, 0.6, _darker(_darker(skin)))
    oval(0, 4, 1.8, 2.2, _darker(skin))
    oval(0, 10.5, 4.2, chance.uniform(0.9, 1.7), _colour(356, 0.55, 0.65))


def _darker(colour: Colour) -> Colour:
    red, green, blue = colour
    return round(red * 0.8), round(green * 0.78), round(blue * 0.76)
