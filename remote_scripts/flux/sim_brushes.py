"""The soft brushes that every part of a simulated picture is painted with."""

from __future__ import annotations

import random
from typing import Any

from flux.sim_palette import Colour, mix

Picture = Any  # PIL.Image.Image; Pillow is not imported until something is painted


def noise(size: tuple[int, int], chance: random.Random) -> Picture:
    """Grey noise that is the same for the same `chance` (Pillow's own cannot be seeded)."""
    from PIL import Image

    return Image.frombytes("L", size, chance.randbytes(size[0] * size[1]))


def column(colours: list[Colour], size: tuple[int, int]) -> Picture:
    """A vertical gradient through `colours`, evenly spaced."""
    from PIL import Image

    steps, strip = 256, Image.new("RGB", (1, 256))
    for row in range(steps):
        place = row / (steps - 1) * (len(colours) - 1)
        index = min(int(place), len(colours) - 2)
        strip.putpixel((0, row), mix(colours[index], colours[index + 1], place - index))
    # Height first, then width by copying: twenty times faster than both at once.
    strip = strip.resize((1, size[1]), Image.Resampling.BICUBIC)
    return strip.resize(size, Image.Resampling.NEAREST)


def blot(
    canvas: Picture, centre: tuple[int, int], radius: int, colour: Colour, power: float
) -> None:
    """Adds soft light around `centre`; `power` 0–1 is its strength in the middle."""
    from PIL import Image, ImageChops

    # Pillow's gradient is 255 in the corners and 180 at the middle of an edge: dark from there on.
    falling = [max(0.0, 1 - value / 180) for value in range(256)]
    curve = [round(share**1.8 * 255 * power) for share in falling]
    mask = Image.radial_gradient("L").point(curve)
    mask = mask.resize((2 * radius, 2 * radius), Image.Resampling.BILINEAR)
    corner = (centre[0] - radius, centre[1] - radius)
    box = (*corner, corner[0] + 2 * radius, corner[1] + 2 * radius)
    part = canvas.crop(box)
    tint = Image.new("RGB", part.size, colour)
    light = ImageChops.multiply(tint, Image.merge("RGB", (mask,) * 3))
    canvas.paste(ImageChops.screen(part, light), corner)
