"""Which landscape the words of a prompt call for, and its colours."""

from __future__ import annotations

import colorsys
import random
import re
from dataclasses import dataclass, replace

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Palette:
    """Sky from top to horizon, haze at the horizon, the nearest land, the light and its glow."""

    sky: tuple[Colour, ...]
    haze: Colour
    near: Colour
    light: Colour
    accent: Colour


@dataclass(frozen=True)
class Scene:
    """What is going to be painted."""

    palette: Palette
    land: str  # hills, peaks, dunes, sea, city
    is_night: bool
    has_snow: bool
    has_pines: bool
    has_rain: bool
    subject: str | None


def _hex(text: str) -> Colour:
    value = int(text, 16)
    return (value >> 16, value >> 8 & 255, value & 255)


def _palette(*codes: str) -> Palette:
    """Sky stops first, then haze, near, light, accent."""
    colours = [_hex(code) for code in codes]
    haze, near, light, accent = colours[-4:]
    return Palette(tuple(colours[:-4]), haze, near, light, accent)


_P = _palette
PALETTES: dict[str, Palette] = {
    "dawn": _P("2b3a67", "7a6c9d", "e0a3a0", "ffd9b0", "f3c9b5", "2a2b45", "fff1d0", "ff9e7a"),
    "sunset": _P("1f2350", "6d3a78", "d9586a", "ffb066", "f7a76c", "231a33", "ffe3a3", "ff7a4f"),
    "day": _P("2f74b5", "6aa9d8", "b4d9ea", "eaf3ee", "cfe3e4", "2c4a3e", "fffbe6", "f2c14e"),
    "night": _P("060b1f", "0f1c40", "24406b", "46668f", "3a587f", "060b18", "f2f0dc", "9fc3ff"),
    "snow": _P("6f8fb0", "a2bcd3", "d3dde8", "f3e9e4", "dfe5ec", "5b7390", "fff6e0", "e8743b"),
    "sea": _P("154a72", "3f87a8", "9ccbd0", "f6e3c0", "cfd9cf", "0d3048", "fff3cf", "ffb561"),
    "forest": _P("3f6b6b", "7fa596", "c3d3b4", "f2ecc9", "c8d6bb", "132c25", "fffbd8", "e6c35a"),
    "autumn": _P("5b5a86", "b9848a", "eab083", "ffe0a8", "f0bf8d", "3d1f1c", "fff0c4", "e2622b"),
    "desert": _P("2d5a8a", "86a5b8", "e9c79a", "ffe2b3", "eec08b", "6b3424", "fff4d0", "e88b45"),
    "fire": _P("14070d", "4a0f1c", "a82a1c", "f57a2a", "c4442a", "12060a", "ffe9a0", "ff5a1f"),
    "storm": _P("1c2530", "3b4a59", "6c7c88", "a9b3b3", "84929a", "11181f", "dfe7e4", "8fb7c9"),
    "space": _P("05030f", "170c33", "3a1a5e", "7a3b86", "5b2f77", "08051a", "ffe6ff", "d37bff"),
    "bloom": _P("6c7fc4", "b59ad1", "f0b7c9", "ffe6d6", "efc6cf", "4a3157", "fff6e6", "ff7fa5"),
}

# The first row with a word of the prompt wins.
_MOODS = (
    ("space", "space galaxy nebula planet cosmic astronaut alien aurora"),
    ("fire", "fire lava volcano inferno dragon hell flame flames ember"),
    ("night", "night midnight moon moonlit stars starry dark nocturnal owl"),
    ("storm", "storm rain rainy thunder lightning tempest grey gray fog foggy"),
    ("snow", "snow snowy winter ice icy arctic frost frozen glacier polar penguin"),
    ("sunset", "sunset dusk evening twilight golden"),
    ("dawn", "dawn sunrise morning mist misty"),
    ("sea", "sea ocean beach coast lighthouse boat ship harbour harbor wave waves island sail"),
    ("desert", "desert dune dunes sahara camel canyon mars sand"),
    ("autumn", "autumn fall fox leaves october harvest pumpkin"),
    ("bloom", "spring flower flowers blossom cherry garden rose pink love"),
    ("forest", "forest wood woods tree trees jungle deer bear meadow green"),
    ("day", "day sunny summer sky blue field noon"),
)
_LANDS = (
    (
        "sea",
        "sea ocean beach coast lighthouse boat ship harbour harbor wave waves island lake "
        "sail river water whale",
    ),
    ("city", "city town street skyline neon cyberpunk tokyo london paris building tower car"),
    ("dunes", "desert dune dunes sahara camel sand mars"),
    ("peaks", "mountain mountains peak alps glacier volcano dragon castle cliff canyon"),
)
_SUBJECTS = (
    ("fox", "fox foxes vixen"),
    ("cat", "cat cats kitten"),
    ("lighthouse", "lighthouse"),
    ("boat", "boat ship sail sailing yacht"),
    ("house", "house cabin cottage hut home castle"),
    ("tree", "tree oak blossom cherry"),
    ("birds", "bird birds swan owl eagle crow raven dragon"),
)


def scene(prompt: str, seed: int, model: str) -> Scene:
    """The scene for a prompt; the seed picks what the words leave open and shifts the colours."""
    words = set(re.findall(r"\w+", prompt.lower()))
    words |= {word[:-1] for word in words if word.endswith(("s", "y"))}  # foxes aside, good enough
    chance = random.Random(f"scene|{prompt}|{seed}|{model}")
    mood = _first(_MOODS, words) or chance.choice(sorted(PALETTES))
    is_night = mood in ("night", "space") or bool(words & {"night", "moon", "stars"})
    if is_night and mood not in ("night", "space"):
        mood = "night"
    has_snow = bool(words & {"snow", "snowy", "winter", "arctic", "frost"})
    land = _first(_LANDS, words) or chance.choice(("hills", "hills", "peaks"))
    likes_pines = has_snow or mood in ("forest", "autumn", "dawn") or chance.random() < 0.4
    return Scene(
        palette=_shifted(PALETTES[mood], chance),
        land=land,
        is_night=is_night,
        has_snow=has_snow,
        has_pines=likes_pines and land != "dunes" and mood not in ("space", "fire"),
        has_rain=bool(words & {"rain", "rainy", "storm", "tempest"}),
        subject=_first(_SUBJECTS, words),
    )


def mix(one: Colour, other: Colour, share: float) -> Colour:
    """`one` at share 0, `other` at share 1."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return (red, green, blue)


def _first(table: tuple[tuple[str, str], ...], words: set[str]) -> str | None:
    return next((name for name, listed in table if words & set(listed.split())), None)


def _shifted(palette: Palette, chance: random.Random) -> Palette:
    turn, lift = chance.uniform(-0.025, 0.025), chance.uniform(0.94, 1.05)
    return replace(
        palette,
        sky=tuple(_turned(colour, turn, lift) for colour in palette.sky),
        haze=_turned(palette.haze, turn, lift),
        near=_turned(palette.near, turn, lift),
    )


def _turned(colour: Colour, turn: float, lift: float) -> Colour:
    hue, lightness, saturation = colorsys.rgb_to_hls(*(part / 255 for part in colour))
    parts = colorsys.hls_to_rgb((hue + turn) % 1, min(1.0, lightness * lift), saturation)
    red, green, blue = (round(part * 255) for part in parts)
    return (red, green, blue)
