"""The ground of a simulated landscape: ranges of hills, dunes, water, a skyline."""

from __future__ import annotations

import itertools
import random
from typing import Any

from flux.sim_brushes import column
from flux.sim_palette import Colour, Scene, mix

Picture = Any
Light = tuple[int, int, int]

_ROUGHNESS = {"hills": 0.46, "peaks": 0.56, "dunes": 0.34, "sea": 0.5, "city": 0.42}
_LIFT = {"hills": 0.10, "peaks": 0.24, "dunes": 0.08, "sea": 0.09, "city": 0.05}
_SNOW: Colour = (244, 247, 252)


def paint(
    canvas: Picture, scene: Scene, horizon: int, light: Light, chance: random.Random, detail: int
) -> None:
    """Covers everything below the horizon, the farthest range first."""
    if scene.land == "sea":
        _range(canvas, scene, chance, share=0.25, base=horizon, is_bare=True)
        _range(canvas, scene, chance, share=0.45, base=horizon, is_bare=True, one_sided=True)
        _water(canvas, scene, horizon, light, chance)
        return
    if scene.land == "city":
        _range(canvas, scene, chance, share=0.15, base=horizon, is_bare=True)
        _skyline(canvas, scene, horizon, chance)
        return
    below = canvas.height - horizon
    for index in range(detail):
        share = index / (detail - 1)
        base = horizon + round(below * 0.62 * share**1.25)
        _range(canvas, scene, chance, share=share, base=base, is_bare=index < detail - 2)


def ridge(chance: random.Random, roughness: float) -> list[float]:
    """513 heights from -1 to 1 by midpoint displacement."""
    line, spread = [chance.uniform(-0.5, 0.5), chance.uniform(-0.5, 0.5)], 1.0
    while len(line) < 513:
        middles = [
            (left + right) / 2 + chance.uniform(-spread, spread)
            for left, right in itertools.pairwise(line)
        ]
        line = [value for pair in zip(line, middles, strict=False) for value in pair] + line[-1:]
        spread *= roughness
    low, high = min(line), max(line)
    return [2 * (value - low) / (high - low) - 1 for value in line]


def _range(
    canvas: Picture,
    scene: Scene,
    chance: random.Random,
    *,
    share: float,
    base: int,
    is_bare: bool,
    one_sided: bool = False,
) -> None:
    """One range: `share` 0 is the farthest and palest, 1 the nearest."""
    from PIL import Image, ImageDraw

    width, height = canvas.size
    scale = 2 if width * height <= 2_500_000 else 1
    lift = _LIFT[scene.land] * min(height, width * 1.2) * (1.25 - 0.6 * share)
    line = ridge(chance, _ROUGHNESS[scene.land])
    if one_sided:
        line = [value * (1 - i / 300) - (i / 300) ** 2 * 1.2 for i, value in enumerate(line)]
    points = [
        (i * width / 512, base - lift * (0.45 + 0.55 * value)) for i, value in enumerate(line)
    ]
    top = max(0, round(min(y for _, y in points) - height * 0.12))
    mask = Image.new("L", (width * scale, (height - top) * scale))
    pen = ImageDraw.Draw(mask)
    shape = [(x * scale, (y - top) * scale) for x, y in points]
    pen.polygon([*shape, (width * scale, mask.height), (0, mask.height)], fill=255)
    trees = mask.copy() if scene.has_snow else mask
    if scene.has_pines and not is_bare:
        tall = min(width, height) * scale * (0.035 + 0.06 * share)
        _pines(ImageDraw.Draw(trees), shape, tall, chance)
    if scene.has_snow:  # dark trees stand behind white ground
        wood = mix(scene.palette.haze, scene.palette.near, 0.35 + 0.55 * share)
        canvas.paste(wood, (0, top), trees.reduce(scale))
    ground = _ground(scene, share, (width, height - top), base - top)
    canvas.paste(ground, (0, top), mask.reduce(scale))


def _ground(scene: Scene, share: float, size: tuple[int, int], base: int) -> Picture:
    """Dark at the crest, dissolving into haze downwards, so that ranges stand apart."""
    crest = mix(scene.palette.haze, scene.palette.near, 0.22 + 0.78 * share)
    foot = mix(crest, scene.palette.haze, 0.6 - 0.42 * share)
    if scene.has_snow:
        white = mix(_SNOW, scene.palette.sky[0], 0.5 if scene.is_night else 0.04)
        crest = mix(mix(scene.palette.haze, scene.palette.near, 0.55), white, 0.15 + 0.85 * share)
        foot = mix(crest, mix(scene.palette.haze, scene.palette.near, 0.25), 0.5)
    fade = max(2, min(size[1], round(base + size[1] * 0.35)))
    picture = column([crest, mix(crest, foot, 0.35), foot], (size[0], fade))
    if fade == size[1]:
        return picture
    from PIL import Image

    whole = Image.new("RGB", size, foot)
    whole.paste(picture, (0, 0))
    return whole


def _pines(pen: Any, line: list[tuple[float, float]], tall: float, chance: random.Random) -> None:
    """Conifers in groves along a crest."""
    grove = ridge(chance, 0.6)
    step = max(1, round(len(line) * tall * 0.16 / line[-1][0]))
    for index in range(0, len(line), step):
        if grove[index] < -0.05 or chance.random() < 0.2:
            continue
        x, y = line[index]
        height = tall * chance.uniform(0.45, 1.0)
        _pine(pen, x + chance.uniform(-0.1, 0.1) * tall, y + height * 0.12, height)


def _pine(pen: Any, x: float, foot: float, height: float) -> None:
    tiers = 5
    left, right = [], []
    for tier in range(tiers):
        upper, lower = tier / tiers, (tier + 1.25) / tiers
        half = height * 0.2 * (tier + 1.2) / tiers
        left += [
            (x - half * 0.45, foot - height * (1 - upper)),
            (x - half, foot - height * (1 - lower)),
        ]
        right += [
            (x + half * 0.45, foot - height * (1 - upper)),
            (x + half, foot - height * (1 - lower)),
        ]
    pen.polygon([(x, foot - height * 1.06), *right, *reversed(left)], fill=255)


def _water(
    canvas: Picture, scene: Scene, horizon: int, light: Light, chance: random.Random
) -> None:
    """The sky mirrored, darker and rippled, with the light's path on it."""
    from PIL import Image, ImageEnhance

    width, height = canvas.size
    below = height - horizon
    mirror = canvas.crop((0, 0, width, horizon)).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    mirror = mirror.resize((max(1, width // 6), below), Image.Resampling.BOX)
    mirror = mirror.resize((width, below), Image.Resampling.BICUBIC)
    mirror = ImageEnhance.Brightness(mirror).enhance(0.82)
    depth = Image.linear_gradient("L").point([30 + value * 6 // 10 for value in range(256)])
    mirror.paste(scene.palette.near, (0, 0), depth.resize(mirror.size))
    for row in range(below):
        reach = width * 0.012 * (0.15 + row / below)
        shift = round(chance.gauss(0, reach))
        strip = mirror.crop((0, row, width, row + 1))
        canvas.paste(strip, (0, horizon + row))
        canvas.paste(strip, (shift, horizon + row))
    _glitter(canvas, scene, horizon, light, chance)


def _glitter(
    canvas: Picture, scene: Scene, horizon: int, light: Light, chance: random.Random
) -> None:
    from PIL import ImageDraw

    pen = ImageDraw.Draw(canvas, "RGBA")
    width, height = canvas.size
    unit = max(0.6, min(width, height) / 1000)
    for _ in range(520):
        far = chance.random() ** 1.7
        y = horizon + 2 + far * (height - horizon)
        x = light[0] + chance.gauss(0, 1) * light[2] * (0.7 + 3.2 * far)
        half = unit * chance.uniform(3, 16) * (0.35 + 1.5 * far)
        thick = unit * (0.5 + 1.6 * far)
        colour = (*scene.palette.light, chance.randrange(40, 190))
        pen.ellipse((x - half, y - thick, x + half, y + thick), fill=colour)


def _skyline(canvas: Picture, scene: Scene, horizon: int, chance: random.Random) -> None:
    """Three rows of towers, the nearest with lit windows."""
    from PIL import ImageDraw

    pen = ImageDraw.Draw(canvas)
    width, height = canvas.size
    unit = min(width, height)
    for row in range(3):
        share = 0.35 + 0.32 * row
        colour = mix(scene.palette.haze, scene.palette.near, share)
        foot = horizon + (height - horizon) * (0.2 + 0.35 * row)
        pen.rectangle((0, foot, width, height), fill=colour)
        x = -unit * 0.05
        while x < width:
            wide = unit * chance.uniform(0.04, 0.1) * (0.7 + 0.35 * row)
            tall = unit * chance.triangular(0.08, 0.46, 0.16) * (1.15 - 0.2 * row)
            pen.rectangle((x, foot - tall, x + wide, height), fill=colour)
            if chance.random() < 0.25:
                mast = x + wide / 2
                pen.line(
                    (mast, foot - tall * 1.25, mast, foot), fill=colour, width=max(1, unit // 400)
                )
            _windows(pen, scene, (x, foot - tall, wide, height - foot + tall), row, chance)
            x += wide * chance.uniform(0.95, 1.25)


def _windows(
    pen: Any,
    scene: Scene,
    tower: tuple[float, float, float, float],
    row: int,
    chance: random.Random,
) -> None:
    left, top, wide, tall = tower
    columns = max(2, round(4 + row))
    cell = wide / (columns + 0.5)
    base = mix(scene.palette.haze, scene.palette.near, 0.35 + 0.32 * row)
    warm = mix((255, 214, 140), scene.palette.accent, chance.uniform(0, 0.35))
    for line in range(1, min(60, int(tall / (cell * 1.5)))):
        for place in range(columns):
            if chance.random() > 0.34:
                continue
            x, y = left + cell * (0.5 + place), top + cell * 1.5 * line
            colour = mix(base, warm, chance.uniform(0.35, 1.0) * (0.5 + 0.25 * row))
            pen.rectangle((x, y, x + cell * 0.5, y + cell * 0.75), fill=colour)
