"""Stills to begin with, and what ffprobe says of a film."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image


def need_ffmpeg() -> None:
    """Skips the test where the films cannot be made or looked into."""
    if not (shutil.which("ffmpeg") and shutil.which("ffprobe")):
        pytest.skip("ffmpeg is not installed")


def still(path: Path, size: tuple[int, int], colour: tuple[int, int, int]) -> Path:
    """A plain picture with a mark in its upper left corner."""
    picture = Image.new("RGB", size, colour)
    picture.paste((255, 255, 255), (0, 0, size[0] // 8, size[1] // 8))
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
    return path


def probed(path: Path) -> dict[str, Any]:
    """Codec, width, height, counted frames and rate."""
    said = subprocess.run(
        [
            *("ffprobe", "-v", "error", "-count_frames", "-select_streams", "v:0"),
            *("-show_entries", "stream=codec_name,width,height,nb_read_frames,r_frame_rate"),
            *("-of", "json", str(path)),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    stream = json.loads(said)["streams"][0]
    return {
        "codec": stream["codec_name"],
        "size": (stream["width"], stream["height"]),
        "frames": int(stream["nb_read_frames"]),
        "rate": stream["r_frame_rate"],
    }


def colour_at(path: Path, frame: int) -> tuple[int, int, int]:
    """The colour in the middle of one frame."""
    said = subprocess.run(
        [
            *("ffmpeg", "-v", "error", "-i", str(path), "-vf", f"select=eq(n\\,{frame})"),
            *("-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"),
        ],
        capture_output=True,
        check=True,
    ).stdout
    width, height = probed(path)["size"]
    at = (height // 2 * width + width // 2) * 3
    red, green, blue = said[at : at + 3]
    return red, green, blue
