"""Paints a landscape with Pillow alone: the picture that stands in for the model's."""

from __future__ import annotations

import random
from typing import Any

from flux import sim_land, sim_subjects
from flux.sim_brushes import blot, column, noise
from flux.sim_palette import Scene, mix

Picture = Any  # PIL.Image.Image; Pillow is not imported until something is painted


def paint(scene: Scene, size: tuple[int, int], chance: random.Random, detail: int) -> Picture:
    """The landscape in `size` pixels; `detail` (2–6) is the number of ranges of hills."""
    horizon = round(size[1] * chance.uniform(0.56, 0.64))
    canvas = _sky(scene, size, horizon)
    light = _light(scene, size, horizon, chance)
    _glow(canvas, scene, light)
    if scene.is_night:
        _stars(canvas, horizon, chance)
    _disc(canvas, scene, light)
    _clouds(canvas, scene, horizon, chance)
    sim_land.paint(canvas, scene, horizon, light, chance, detail)
    sim_subjects.paint(canvas, scene, horizon, light, chance)
    if scene.has_snow:
        _snowfall(canvas, chance)
    if scene.has_rain:
        _rain(canvas, chance)
    return canvas


def finish(canvas: Picture, chance: random.Random, guidance: float) -> Picture:
    """Colour strength by guidance, a darker rim, and film grain."""
    from PIL import Image, ImageChops, ImageEnhance

    strength = 0.86 + min(guidance, 7.0) * 0.04
    canvas = ImageEnhance.Color(canvas).enhance(strength)
    rim = Image.radial_gradient("L").point([255 - max(0, value - 120) // 2 for value in range(256)])
    rim = rim.resize(canvas.size, Image.Resampling.BILINEAR)
    canvas = ImageChops.multiply(canvas, Image.merge("RGB", (rim,) * 3))
    grain = noise(canvas.size, chance).point([128 + (value - 128) // 14 for value in range(256)])
    return ImageChops.soft_light(canvas, Image.merge("RGB", (grain,) * 3))


def _sky(scene: Scene, size: tuple[int, int], horizon: int) -> Picture:
    from PIL import Image

    canvas = Image.new("RGB", size, scene.palette.haze)
    canvas.paste(column(list(scene.palette.sky), (size[0], horizon + 2)), (0, 0))
    return canvas


def _light(
    scene: Scene, size: tuple[int, int], horizon: int, chance: random.Random
) -> tuple[int, int, int]:
    """Where the sun or moon stands, and its radius."""
    width, height = size
    x = round(width * chance.choice((chance.uniform(0.22, 0.4), chance.uniform(0.6, 0.78))))
    y = round(
        horizon * (chance.uniform(0.25, 0.45) if scene.is_night else chance.uniform(0.5, 0.8))
    )
    return x, y, max(3, round(min(width, height) * chance.uniform(0.045, 0.07)))


def _glow(canvas: Picture, scene: Scene, light: tuple[int, int, int]) -> None:
    x, y, radius = light
    strong = 0.45 if scene.is_night else 0.7
    blot(canvas, (x, y), radius * 9, scene.palette.accent, strong * 0.7)
    blot(canvas, (x, y), radius * 4, scene.palette.light, strong)


def _disc(canvas: Picture, scene: Scene, light: tuple[int, int, int]) -> None:
    from PIL import Image, ImageDraw

    x, y, radius = light
    side = 2 * radius + 2
    mask = Image.new("L", (side * 4, side * 4))
    pen = ImageDraw.Draw(mask)
    pen.ellipse((4, 4, side * 4 - 5, side * 4 - 5), fill=255)
    if scene.is_night:  # a waxing moon: the shadow is another disc, set off
        shift = round(side * 1.1)
        pen.ellipse(
            (4 - shift, 4 - shift // 3, side * 4 - 5 - shift, side * 4 - 5 - shift // 3), fill=0
        )
    mask = mask.resize((side, side), Image.Resampling.LANCZOS)
    canvas.paste(scene.palette.light, (x - side // 2, y - side // 2), mask)


def _stars(canvas: Picture, horizon: int, chance: random.Random) -> None:
    from PIL import ImageDraw

    pen = ImageDraw.Draw(canvas)
    width, height = canvas.size
    unit = max(1.0, min(width, height) / 900)
    for _ in range(min(1400, round(width * horizon / (900 * unit * unit)))):
        x, y = chance.randrange(width), round(horizon * chance.random() ** 1.3)
        radius = unit * chance.choice((0.3, 0.4, 0.5, 0.6, 0.9, 1.5))
        under = canvas.getpixel((x, min(y, height - 1)))
        colour = mix(under, (255, 250, 240), chance.uniform(0.25, 1.0) * (1 - y / horizon) ** 0.4)
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def _clouds(canvas: Picture, scene: Scene, horizon: int, chance: random.Random) -> None:
    from PIL import Image, ImageChops

    size = (canvas.width, horizon)
    half = (max(2, size[0] // 2), max(2, size[1] // 2))  # soft shapes need no more
    sheet = Image.new("L", half, 0)
    for scale, share in ((3, 0.6), (7, 0.42), (17, 0.3), (37, 0.22)):
        cells = (max(2, scale * size[0] // size[1] // 2 + 1), scale * 2)
        octave = noise(cells, chance).resize(half, Image.Resampling.BICUBIC)
        sheet = Image.blend(sheet, octave, share)
    floor = 92 if scene.has_rain else 112
    opacity = 90 if scene.is_night else 190
    curve = [round(min(1.0, max(0, value - floor) / 70) * opacity) for value in range(256)]
    fade = Image.linear_gradient("L").point([min(255, 60 + value) for value in range(256)])
    mask = ImageChops.multiply(sheet.point(curve), fade.resize(half))
    mask = mask.resize(size, Image.Resampling.BILINEAR)
    bright = mix(scene.palette.sky[-1], scene.palette.light, 0.5)
    dull = mix(scene.palette.sky[0], bright, 0.45)
    canvas.paste(column([dull, bright, bright], size), (0, 0), mask)


def _snowfall(canvas: Picture, chance: random.Random) -> None:
    from PIL import ImageDraw

    pen = ImageDraw.Draw(canvas, "RGBA")
    width, height = canvas.size
    unit = max(0.6, min(width, height) / 1000)
    for _ in range(260):
        x, y, near = chance.uniform(0, width), chance.uniform(0, height), chance.random() ** 3
        radius = unit * (0.9 + 4 * near)
        box = (x - radius, y - radius, x + radius, y + radius)
        pen.ellipse(box, fill=(255, 255, 255, round(190 - 110 * near)))


def _rain(canvas: Picture, chance: random.Random) -> None:
    from PIL import ImageDraw

    pen = ImageDraw.Draw(canvas, "RGBA")
    width, height = canvas.size
    for _ in range(420):
        x, y = chance.uniform(0, width), chance.uniform(-0.05, 1) * height
        length = height * chance.uniform(0.015, 0.05)
        end = (x - length * 0.18, y + length)
        pen.line(
            (x, y, *end), fill=(220, 230, 240, chance.randrange(25, 80)), width=max(1, width // 900)
        )
