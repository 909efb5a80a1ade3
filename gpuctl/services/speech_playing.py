"""Plays a recording with whatever plays sound on this computer."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from gpuctl.errors import MissingDependency

# The first that is there. ffplay comes with ffmpeg, afplay with macOS.
_PLAYERS = (
    ("ffplay", "-nodisp", "-autoexit", "-loglevel", "error"),
    ("mpv", "--no-video", "--really-quiet"),
    ("afplay",),
    ("pw-play",),
    ("play", "-q"),
)


def play(file: Path) -> int:
    """Plays to the end; the player's exit code. Raises MissingDependency without a player."""
    for program, *options in _PLAYERS:
        if found := shutil.which(program):
            # Absolute, so that no file name is taken for an option.
            return subprocess.run([found, *options, str(file.absolute())], check=False).returncode
    raise MissingDependency(
        f"nothing here can play {file.name}", hint="apt install ffmpeg   (it brings ffplay)"
    )
