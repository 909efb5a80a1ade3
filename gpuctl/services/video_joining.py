"""Films made of pieces: the last frame of one is where the next begins, and all become one file."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from gpuctl.errors import GpuctlError, MissingDependency

_LIMIT_S = 600.0
_QUIET = ("-v", "error", "-nostdin", "-y")


def check_program() -> None:
    """Raises MissingDependency before anything is rented or made."""
    _program()


def last_frame(film: Path, target: Path) -> None:
    """Writes the very last frame of `film` as a PNG. Raises GpuctlError, MissingDependency."""
    # Counted from the end, so that it is the last one whatever the rate; each frame replaces the
    # one before it.
    _run(["-sseof", "-1", "-i", f"file:{film}", "-update", "1", f"file:{target}"], film)
    if not target.is_file():
        raise GpuctlError(f"{film} has no last frame that can be read")


def joined(films: Sequence[Path], target: Path) -> None:
    """One film out of several of one size. The frame that two pieces share is shown once.

    Raises GpuctlError, MissingDependency.
    """
    part = target.with_name(f"{target.stem}.part{target.suffix}")
    inputs = [word for film in films for word in ("-i", f"file:{film}")]
    cuts = [
        f"[{index}:v]{'trim=start_frame=1,' if index else ''}setpts=PTS-STARTPTS[v{index}]"
        for index in range(len(films))
    ]
    named = "".join(f"[v{index}]" for index in range(len(films)))
    graph = ";".join([*cuts, f"{named}concat=n={len(films)}:v=1:a=0[out]"])
    coded = ["-c:v", "libx264", "-crf", "16", "-preset", "medium", "-pix_fmt", "yuv420p"]
    mapped = ["-filter_complex", graph, "-map", "[out]", *coded, "-movflags", "+faststart"]
    try:
        _run([*inputs, *mapped, f"file:{part}"], target)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _run(arguments: Sequence[str], file: Path) -> None:
    try:
        ended = subprocess.run(
            [_program(), *_QUIET, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise GpuctlError(f"ffmpeg did not finish {file} within {_LIMIT_S:g} s") from error
    if ended.returncode:
        said = ended.stderr.strip().splitlines()[-1:] or [f"exit code {ended.returncode}"]
        raise GpuctlError(f"ffmpeg could not read or write {file}: {said[0]}")


def _program() -> str:
    found = shutil.which("ffmpeg")
    if found is None:
        raise MissingDependency(
            "--chain joins films with ffmpeg, which is not installed",
            hint="apt install ffmpeg   (macOS: brew install ffmpeg)",
        )
    return found
