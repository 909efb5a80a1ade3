"""What shall go wrong in the simulated EC2: a file that its process reads at each turn."""

from __future__ import annotations

import json
from pathlib import Path

from gpuctl.models import Json
from gpuctl.sim.kinds import LASTING
from gpuctl.sim.store import write_json

FILE = "ec2-faults.json"
PREFIX = "ec2-"


def add(folder: Path, kind: str, value: str | None = None, times: int | None = None) -> None:
    """Waits to strike `times` times (once; -1 = until cleared, which some kinds are)."""
    count = times or (-1 if kind in LASTING else 1)
    _write(folder, [*_read(folder), {"kind": kind, "value": value, "times": count}])


def clear(folder: Path) -> None:
    _write(folder, [])


def take(folder: Path, kind: str, where: str = "") -> str | None:
    """The value of the first fault of this kind that applies to `where`, counted down; "" when it
    has none, None without a fault."""
    faults = _read(folder)
    for fault in faults:
        value = str(fault["value"] or "")
        if fault["kind"] == kind and (not where or value in where):
            if fault["times"] > 0:
                fault["times"] -= 1
            _write(folder, [each for each in faults if each["times"]])
            return value
    return None


def _read(folder: Path) -> list[Json]:
    try:
        found = json.loads((folder / FILE).read_bytes())
    except (OSError, ValueError):
        return []
    return list(found["faults"])


def _write(folder: Path, faults: list[Json]) -> None:
    write_json(folder / FILE, {"faults": faults})
