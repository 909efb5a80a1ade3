"""Turns a simulated film into a real mp4: a slow move over the still, faded into the end image."""

from __future__ import annotations

import math
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from video.sim_graph import Film

Picture = Any
# The first and the last frames are the given pictures; between them one fades into the other.
_FADE_FROM, _FADE_TO = 0.3, 0.85
_ZOOM = 0.12


class NoEncoder(Exception):
    """ffmpeg is not installed, or refused."""


def write(film: Film, fps: float, target: Path) -> None:
    """`film.frames` frames of exactly `film.width` × `film.height`, H.264. Raises NoEncoder."""
    program = shutil.which("ffmpeg")
    if program is None:
        raise NoEncoder("ffmpeg is not installed: apt-get install ffmpeg")
    size = f"{film.width}x{film.height}"
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", f"{fps:g}", "-i", "-"]
    # yuv420p has no odd sizes.
    pixels = "yuv420p" if film.width % 2 == 0 and film.height % 2 == 0 else "yuv444p"
    code = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "21", "-pix_fmt", pixels]
    command = [program, "-v", "error", "-y", *raw, *code, "-movflags", "+faststart", str(target)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        try:
            for frame in frames(film):
                process.stdin.write(frame.tobytes())
            process.stdin.close()
        except BrokenPipeError:
            pass  # it says why
        said = process.stderr.read().decode(errors="replace").strip()
    if process.returncode:
        raise NoEncoder(f"ffmpeg failed: {said}")


def frames(film: Film) -> Iterator[Picture]:
    """The frames, labelled."""
    start = _picture(film.start, film)
    end = _picture(film.end, film) if film.end else None
    label = _label(film)
    chance = random.Random(f"{film.prompt}|{film.seed}")
    towards = chance.uniform(0.2, 0.8), chance.uniform(0.2, 0.8)
    for index in range(film.frames):
        at = index / max(1, film.frames - 1)
        frame = _moved(start, film, towards, at if end is None else at * _FADE_TO)
        if end is not None:
            frame = _faded(frame, _moved(end, film, towards, 1 - at), at)
        frame.paste(label, (0, film.height - label.height), label)
        yield frame


def preview(film: Film, step: int, steps: int) -> bytes:
    """A small JPEG of what a half-finished film may look like."""
    import io

    from PIL import Image, ImageFilter

    picture = _picture(film.start, film).resize((max(8, film.width // 8), max(8, film.height // 8)))
    blurred = picture.filter(ImageFilter.GaussianBlur(max(0.0, 4.0 * (1 - step / max(1, steps)))))
    buffer = io.BytesIO()
    Image.Image.convert(blurred, "RGB").save(buffer, "JPEG")
    return buffer.getvalue()


def _picture(path: Path | None, film: Film) -> Picture:
    """Cut from the middle and scaled, as ComfyUI's Wan nodes do."""
    from PIL import Image, ImageOps

    size = (film.width, film.height)
    if path is None:
        return Image.new("RGB", size, tuple(film.colour >> shift & 255 for shift in (16, 8, 0)))
    with Image.open(path) as file:
        upright = ImageOps.exif_transpose(file).convert("RGB")
    return ImageOps.fit(upright, size, Image.Resampling.BILINEAR)


def _moved(picture: Picture, film: Film, towards: tuple[float, float], at: float) -> Picture:
    """`picture`, nearer by `at` × 12 %: the whole of it at 0."""
    from PIL import Image

    shown = 1 - _ZOOM * (1 - math.cos(math.pi * min(1.0, max(0.0, at)))) / 2
    width, height = film.width * shown, film.height * shown
    left, top = (film.width - width) * towards[0], (film.height - height) * towards[1]
    box = (left, top, left + width, top + height)
    return picture.resize((film.width, film.height), Image.Resampling.BILINEAR, box=box)


def _faded(frame: Picture, end: Picture, at: float) -> Picture:
    from PIL import Image

    share = (at - _FADE_FROM) / (_FADE_TO - _FADE_FROM)
    return Image.blend(frame, end, min(1.0, max(0.0, share)))


def _label(film: Film) -> Picture:
    """A dark band that says what this is, and the prompt."""
    from PIL import Image, ImageDraw, ImageFont

    size = max(7.0, min(film.width, film.height) * 0.032)
    font = ImageFont.load_default(size)
    margin = max(2, round(size * 0.6))
    head = f"SIMULATED · seed {film.seed} · no GPU was used"
    lines = [_fitted(head, font, film.width - 2 * margin)]
    if film.prompt.strip():
        lines.append(_fitted(" ".join(film.prompt.split()), font, film.width - 2 * margin))
    tall = min(film.height, round(len(lines) * size * 1.35) + 2 * margin)
    band = Image.new("RGBA", (film.width, tall), (9, 12, 20, 175))
    pen = ImageDraw.Draw(band)
    for row, line in enumerate(lines):
        colour = (255, 199, 92) if row == 0 else (244, 246, 250)
        pen.text((margin, margin + row * size * 1.35), line, font=font, fill=colour)
    return band


def _fitted(text: str, font: Any, room: float) -> str:
    text = text[:300]
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(text + "…") > room:
        text = text[:-1]
    return text + "…"
