"""Shows a picture in the viewer of Linux, macOS or Windows behind WSL; never waits, never fails."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

# The path travels in a variable and the command is constant: no file name is ever parsed.
_SHOW = "Invoke-Item -LiteralPath $env:GPUCTL_PICTURE"
_WSLPATH_LIMIT_S = 5.0

# Viewers that were started; kept so that nobody has to wait for their end.
_started: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True, slots=True)
class Launch:
    """A program to start, and what is added to its environment."""

    argv: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict)


def launch_for(
    path: Path,
    *,
    platform: str,
    environ: Mapping[str, str],
    windows_path: Callable[[Path], str | None],
) -> Launch | None:
    """How to show `path` here, None where there is no screen. `windows_path` is asked in WSL only.

    `platform` is sys.platform.
    """
    whole = path.absolute()
    if platform == "darwin":
        return Launch(("open", str(whole)))
    if not platform.startswith("linux"):
        return None
    if environ.get("WSL_DISTRO_NAME") or environ.get("WSL_INTEROP"):
        return _windows_launch(whole, environ, windows_path)
    if environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"):
        return Launch(("xdg-open", str(whole)))
    return None


def open_file(
    path: Path, *, platform: str = sys.platform, environ: Mapping[str, str] | None = None
) -> bool:
    """Whether a viewer was started. Raises nothing: the picture is on the disk either way."""
    environ = os.environ if environ is None else environ
    launch = launch_for(path, platform=platform, environ=environ, windows_path=_windows_path)
    if launch is None:
        return False
    try:
        process = subprocess.Popen(
            launch.argv,
            env={**environ, **launch.environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        return False
    _started.append(process)
    return True


def _windows_launch(
    path: Path, environ: Mapping[str, str], windows_path: Callable[[Path], str | None]
) -> Launch | None:
    translated = windows_path(path)
    if translated is None:
        return None
    # WSLENV names the variables that Windows programs get.
    shared = ":".join(filter(None, (environ.get("WSLENV"), "GPUCTL_PICTURE")))
    return Launch(
        ("powershell.exe", "-NoProfile", "-NonInteractive", "-Command", _SHOW),
        {"GPUCTL_PICTURE": translated, "WSLENV": shared},
    )


def _windows_path(path: Path) -> str | None:
    try:
        shown = subprocess.run(
            ["wslpath", "-w", str(path)],
            capture_output=True,
            text=True,
            timeout=_WSLPATH_LIMIT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return shown.stdout.rstrip("\n") or None
