"""The figure in a simulated landscape: a silhouette for a few words that prompts like."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from flux.sim_brushes import blot
from flux.sim_palette import Colour, Scene, mix
from flux.sim_shapes import CAT, FOX, FOX_CHEST, FOX_TIP, Points, dot, shape

Picture = Any


def paint(
    canvas: Picture, scene: Scene, horizon: int, light: tuple[int, int, int], chance: random.Random
) -> None:
    """Draws the scene's subject, if it has one, on the side away from the light."""
    if scene.subject is None:
        return
    width = canvas.width
    side = 0.66 if light[0] < width / 2 else 0.32
    x = width * (side + chance.uniform(-0.04, 0.04))
    _DRAW[scene.subject](canvas, scene, (x, horizon), chance)


def _fox(canvas: Picture, scene: Scene, at: tuple[float, float], _: random.Random) -> None:
    fur = mix((226, 98, 43), scene.palette.near, 0.35 if scene.is_night else 0.08)
    cream = mix((250, 236, 220), scene.palette.near, 0.3 if scene.is_night else 0.05)
    tall = min(canvas.size) * 0.26
    box = _standing(canvas, at, tall)
    _shadow(canvas, box, scene)
    shape(canvas, FOX, box, fur)
    shape(canvas, FOX_CHEST, box, cream)
    shape(canvas, FOX_TIP, box, cream)
    dot(canvas, box, (0.055, 0.385), 0.018, (40, 24, 22))
    dot(canvas, box, (0.245, 0.315), 0.016, (40, 24, 22))


def _cat(canvas: Picture, scene: Scene, at: tuple[float, float], _: random.Random) -> None:
    box = _standing(canvas, at, min(canvas.size) * 0.24)
    _shadow(canvas, box, scene)
    shape(canvas, CAT, box, mix(scene.palette.near, (8, 8, 14), 0.6))
    dot(canvas, box, (0.305, 0.315), 0.018, (255, 214, 92))
    dot(canvas, box, (0.43, 0.315), 0.018, (255, 214, 92))


def _lighthouse(canvas: Picture, scene: Scene, at: tuple[float, float], _: random.Random) -> None:
    tall = min(canvas.size) * 0.36
    box = (at[0] - tall / 2, at[1] - tall * 0.93, tall)
    dark = mix(scene.palette.near, (10, 12, 20), 0.45)
    wall = mix((246, 240, 230), scene.palette.near, 0.45 if scene.is_night else 0.12)
    red = mix((196, 60, 48), scene.palette.near, 0.4 if scene.is_night else 0.1)
    rock: Points = [(0.0, 1.0), (0.12, 0.93), (0.3, 0.88), (0.7, 0.87), (0.9, 0.94), (1.05, 1.0)]
    _beams(canvas, scene, (box[0] + tall * 0.5, box[1] + tall * 0.12), tall)
    shape(canvas, rock, box, dark, is_round=False)
    for band in range(6):
        upper, lower = 0.2 + band * 0.115, 0.2 + (band + 1) * 0.115
        a, b = 0.062 + 0.05 * (upper - 0.2), 0.062 + 0.05 * (lower - 0.2)
        quad: Points = [(0.5 - a, upper), (0.5 + a, upper), (0.5 + b, lower), (0.5 - b, lower)]
        shape(canvas, quad, box, red if band % 2 else wall, is_round=False)
    shape(
        canvas,
        [(0.41, 0.185), (0.59, 0.185), (0.59, 0.205), (0.41, 0.205)],
        box,
        dark,
        is_round=False,
    )
    shape(
        canvas,
        [(0.455, 0.09), (0.545, 0.09), (0.545, 0.19), (0.455, 0.19)],
        box,
        (255, 226, 150),
        is_round=False,
    )
    shape(canvas, [(0.44, 0.095), (0.5, 0.02), (0.56, 0.095)], box, dark, is_round=False)
    blot(
        canvas,
        (round(box[0] + tall * 0.5), round(box[1] + tall * 0.13)),
        round(tall * 0.3),
        (255, 226, 150),
        0.9,
    )


def _beams(canvas: Picture, scene: Scene, at: tuple[float, float], tall: float) -> None:
    from PIL import Image, ImageDraw, ImageFilter

    mask = Image.new("L", (canvas.width // 4 + 1, canvas.height // 4 + 1))
    pen, (x, y) = ImageDraw.Draw(mask), (at[0] / 4, at[1] / 4)
    reach = canvas.width / 2
    for way in (-1, 1):
        far = x + way * reach
        pen.polygon(
            [(x, y), (far, y - tall * 0.10), (far, y + tall * 0.02)],
            fill=90 if scene.is_night else 60,
        )
    mask = mask.filter(ImageFilter.GaussianBlur(max(1.0, tall / 120)))
    canvas.paste((255, 240, 200), (0, 0), mask.resize(canvas.size, Image.Resampling.BICUBIC))


def _boat(canvas: Picture, scene: Scene, at: tuple[float, float], chance: random.Random) -> None:
    tall = min(canvas.size) * 0.2
    y = at[1] + (canvas.height - at[1]) * 0.16
    box = (at[0] - tall / 2, y - tall, tall)
    dark = mix(scene.palette.near, (12, 12, 20), 0.4)
    sail = mix((250, 244, 232), scene.palette.accent, 0.18)
    shape(canvas, [(0.08, 0.86), (0.95, 0.86), (0.82, 1.0), (0.22, 1.0)], box, dark, is_round=False)
    shape(
        canvas, [(0.50, 0.05), (0.52, 0.05), (0.52, 0.88), (0.50, 0.88)], box, dark, is_round=False
    )
    shape(
        canvas, [(0.54, 0.07), (0.70, 0.40), (0.86, 0.80), (0.54, 0.80)], box, sail, is_round=False
    )
    shape(
        canvas,
        [(0.48, 0.16), (0.34, 0.50), (0.14, 0.80), (0.48, 0.80)],
        box,
        mix(sail, dark, 0.18),
        is_round=False,
    )
    _ripples(canvas, box, dark, chance)


def _house(canvas: Picture, scene: Scene, at: tuple[float, float], _: random.Random) -> None:
    tall = min(canvas.size) * 0.17
    box = _standing(canvas, at, tall)
    wall = mix(scene.palette.near, (30, 20, 20), 0.3)
    roof = (244, 247, 252) if scene.has_snow else mix(wall, (0, 0, 0), 0.35)
    _shadow(canvas, box, scene)
    shape(canvas, [(0.74, 0.2), (0.84, 0.2), (0.84, 0.5), (0.74, 0.5)], box, wall, is_round=False)
    shape(canvas, [(0.05, 0.55), (0.95, 0.55), (0.95, 1.0), (0.05, 1.0)], box, wall, is_round=False)
    shape(
        canvas, [(-0.06, 0.58), (0.28, 0.2), (0.72, 0.2), (1.06, 0.58)], box, roof, is_round=False
    )
    for left in (0.18, 0.58):
        pane: Points = [(left, 0.68), (left + 0.2, 0.68), (left + 0.2, 0.86), (left, 0.86)]
        shape(canvas, pane, box, (255, 206, 120), is_round=False)
    blot(
        canvas, (round(at[0]), round(box[1] + tall * 0.8)), round(tall * 0.9), (255, 190, 100), 0.45
    )


def _tree(canvas: Picture, scene: Scene, at: tuple[float, float], chance: random.Random) -> None:
    from PIL import ImageDraw

    tall = min(canvas.size) * 0.34
    x, _, size = _standing(canvas, at, tall)
    x, foot = x + size / 2, at[1] + (canvas.height - at[1]) * 0.42
    dark = mix(scene.palette.near, (14, 10, 12), 0.4)
    pen = ImageDraw.Draw(canvas)
    trunk = [(x - size * 0.05, foot), (x - size * 0.02, foot - size * 0.5),
             (x + size * 0.02, foot - size * 0.5), (x + size * 0.06, foot)]  # fmt: skip
    pen.polygon(trunk, fill=dark)
    leaf = mix(scene.palette.accent, scene.palette.near, 0.2)
    for _ in range(340):
        dx, dy = chance.gauss(0, 0.17), chance.gauss(0, 0.11)
        radius = size * chance.uniform(0.012, 0.04)
        cx, cy = x + dx * size, foot - size * 0.66 + dy * size
        shade = mix(
            mix(leaf, dark, 0.55),
            mix(leaf, scene.palette.light, 0.35),
            0.5 - dy * 2.2 + chance.uniform(-0.2, 0.2),
        )
        colour = tuple(min(255, max(0, part)) for part in shade)
        pen.ellipse((cx - radius, cy - radius, cx + radius, cy + radius), fill=colour)


def _birds(canvas: Picture, scene: Scene, at: tuple[float, float], chance: random.Random) -> None:
    from PIL import ImageDraw

    pen, unit = ImageDraw.Draw(canvas), min(canvas.size)
    dark = mix(scene.palette.near, (10, 10, 16), 0.3)
    for index in range(9):
        span = unit * chance.uniform(0.014, 0.03)
        row, way = (index + 1) // 2, 1 if index % 2 else -1
        x = at[0] + way * row * unit * 0.05
        y = at[1] * 0.42 + row * unit * 0.026 + chance.uniform(-1, 1) * unit * 0.006
        dip = span * chance.uniform(0.2, 0.5)
        wing = [
            (x - span, y - dip),
            (x - span * 0.4, y - dip * 0.9),
            (x, y),
            (x + span * 0.4, y - dip * 0.9),
            (x + span, y - dip),
        ]
        pen.line(wing, fill=dark, width=max(1, round(unit / 330)), joint="curve")


_DRAW: dict[str, Callable[[Picture, Scene, tuple[float, float], random.Random], None]] = {
    "fox": _fox, "cat": _cat, "lighthouse": _lighthouse, "boat": _boat, "house": _house,
    "tree": _tree, "birds": _birds,
}  # fmt: skip


def _standing(canvas: Picture, at: tuple[float, float], tall: float) -> tuple[float, float, float]:
    """Left, top and size of a figure whose feet are on the nearest ground."""
    foot = at[1] + (canvas.height - at[1]) * 0.5
    return (at[0] - tall / 2, foot - tall, tall)


def _shadow(canvas: Picture, box: tuple[float, float, float], scene: Scene) -> None:
    from PIL import Image, ImageDraw, ImageFilter

    left, top, size = box
    mask = Image.new("L", (max(8, round(size * 1.6)), max(4, round(size * 0.3))))
    ImageDraw.Draw(mask).ellipse(
        (mask.width * 0.1, mask.height * 0.3, mask.width * 0.9, mask.height * 0.7), fill=120
    )
    mask = mask.filter(ImageFilter.GaussianBlur(size * 0.03))
    colour = mix(scene.palette.near, (20, 24, 40), 0.4)
    canvas.paste(colour, (round(left - size * 0.3), round(top + size * 0.85)), mask)


def _ripples(
    canvas: Picture, box: tuple[float, float, float], colour: Colour, chance: random.Random
) -> None:
    from PIL import ImageDraw

    left, top, size = box
    pen = ImageDraw.Draw(canvas, "RGBA")
    for row in range(9):
        half = size * 0.36 * (1 - row / 10) * chance.uniform(0.7, 1.1)
        x, y = left + size * (0.5 + chance.uniform(-0.04, 0.04)), top + size * (1.0 + 0.045 * row)
        pen.ellipse((x - half, y, x + half, y + size * 0.018), fill=(*colour, 150 - 14 * row))
