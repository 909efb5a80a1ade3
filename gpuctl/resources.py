"""Finds the files that ship beside the package, in a checkout or in the wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def bundled(name: str) -> Path:
    """`name` (config_defaults.yaml, remote_scripts, prompts) wherever this gpuctl keeps it.

    Raises FileNotFoundError when the installation lacks it.
    """
    for root in (_PACKAGE / "_bundled", _PACKAGE.parent):
        path = root / name
        if path.exists():
            return path
    raise FileNotFoundError(f"{name} is missing from this installation of gpuctl")


def data(name: str) -> Path:
    """A file that lies inside the package (gpuctl/data/…)."""
    return _PACKAGE / "data" / name
