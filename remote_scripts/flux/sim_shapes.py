"""Outlines and the smooth filling of them, for figures in a simulated landscape."""

from __future__ import annotations

from typing import Any

from flux.sim_palette import Colour

Picture = Any
Points = list[tuple[float, float]]

# Outlines in a unit square, y downwards; rounded by cutting corners.
FOX: Points = [
    (0.30, 1.00), (0.30, 0.86), (0.27, 0.72), (0.27, 0.58), (0.30, 0.47), (0.24, 0.44),
    (0.12, 0.42), (0.04, 0.385), (0.13, 0.33), (0.20, 0.26), (0.225, 0.08), (0.32, 0.20),
    (0.37, 0.21), (0.45, 0.09), (0.455, 0.28), (0.455, 0.38), (0.50, 0.50), (0.56, 0.62),
    (0.60, 0.76), (0.61, 0.88), (0.70, 0.885), (0.80, 0.84), (0.86, 0.76), (0.88, 0.66),
    (0.93, 0.72), (0.96, 0.84), (0.90, 0.95), (0.76, 1.00),
]  # fmt: skip
FOX_CHEST: Points = [
    (0.30, 0.47),
    (0.40, 0.46),
    (0.43, 0.60),
    (0.39, 0.80),
    (0.32, 0.74),
    (0.275, 0.6),
]
FOX_TIP: Points = [(0.88, 0.66), (0.93, 0.72), (0.955, 0.80), (0.90, 0.81), (0.855, 0.77)]
CAT: Points = [
    (0.28, 1.00), (0.30, 0.80), (0.29, 0.62), (0.32, 0.50), (0.23, 0.40), (0.21, 0.30),
    (0.22, 0.12), (0.32, 0.20), (0.42, 0.20), (0.52, 0.12), (0.53, 0.30), (0.50, 0.42),
    (0.56, 0.54), (0.62, 0.70), (0.64, 0.90), (0.76, 0.90), (0.84, 0.80), (0.84, 0.66),
    (0.90, 0.64), (0.92, 0.78), (0.86, 0.93), (0.74, 1.00),
]  # fmt: skip


def shape(
    canvas: Picture,
    outline: Points,
    box: tuple[float, float, float],
    colour: Colour,
    *,
    is_round: bool = True,
) -> None:
    """Fills `outline`, given in the unit square, inside `box` (left, top, size in pixels)."""
    from PIL import Image, ImageDraw

    left, top, size = box
    points = _cut_corners(_cut_corners(outline)) if is_round else outline
    side = max(4, round(size * 1.3))
    mask = Image.new("L", (side * 3, side * 3))
    margin = size * 0.15
    ImageDraw.Draw(mask).polygon(
        [((x * size + margin) * 3, (y * size + margin) * 3) for x, y in points], fill=255
    )
    mask = mask.resize((side, side), Image.Resampling.LANCZOS)
    canvas.paste(colour, (round(left - margin), round(top - margin)), mask)


def dot(
    canvas: Picture,
    box: tuple[float, float, float],
    at: tuple[float, float],
    radius: float,
    colour: Colour,
) -> None:
    """A round spot at a place of the unit square."""
    x, y, r = at[0], at[1], radius
    ring: Points = [(x - r, y - r), (x + r, y - r), (x + r, y + r), (x - r, y + r)]
    shape(canvas, ring, box, colour)


def _cut_corners(outline: Points) -> Points:
    smooth: Points = []
    for (ax, ay), (bx, by) in zip(outline, outline[1:] + outline[:1], strict=True):
        smooth += [
            (0.8 * ax + 0.2 * bx, 0.8 * ay + 0.2 * by),
            (0.2 * ax + 0.8 * bx, 0.2 * ay + 0.8 * by),
        ]
    return smooth
