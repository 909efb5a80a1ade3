"""Sizes and lengths that the model can do: multiples of 16, and 4n+1 frames (workloads.md §4.4)."""

from __future__ import annotations

MULTIPLE = 16
LEAST_SIDE, MOST_SIDE = 128, 2048
LEAST_FRAMES, MOST_FRAMES = 5, 241
# The areas that the model was trained for; the picture's own proportion is kept.
AREAS = {"480p": 480 * 832, "720p": 720 * 1280}


def side(pixels: float) -> int:
    """The nearest multiple of 16 that is allowed."""
    near = int(pixels / MULTIPLE + 0.5) * MULTIPLE
    return min(MOST_SIDE, max(LEAST_SIDE, near))


def fitted(picture: tuple[int, int], area: int) -> tuple[int, int]:
    """A size of about `area` pixels in the proportion of `picture`."""
    width, height = picture
    scale = (area / (width * height)) ** 0.5
    return side(width * scale), side(height * scale)


def frames(wanted: int) -> int:
    """The nearest 4n+1. Any other length would lose the end image."""
    near = 4 * int((wanted - 1) / 4 + 0.5) + 1
    return min(MOST_FRAMES, max(LEAST_FRAMES, near))
