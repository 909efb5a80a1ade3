"""Time that neither a corrected clock nor a suspended host can fool."""

from __future__ import annotations

import os
import time
from pathlib import Path

# Tests let minutes pass in milliseconds: seconds of ours in one second of the world.
FACTOR = float(os.environ.get("GPUCTL_WATCHDOG_CLOCK_FACTOR") or 1.0)
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def now() -> float:
    """Seconds since the host was started, the time it was suspended included."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock) * FACTOR


def sleep(seconds: float) -> None:
    time.sleep(max(0.0, seconds) / FACTOR)


def boot() -> str:
    """Names the run of the host that `now` counts from."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def stamp() -> dict[str, object]:
    """This moment, so that `since` can tell its age to another process."""
    return {"clock": now(), "boot": boot(), "wall": time.time()}


def since(moment: dict[str, object]) -> float:
    """Seconds since a stamp. After a restart of the host only the wall clock can tell."""
    if moment.get("boot") == boot() and moment.get("boot"):
        return now() - float(str(moment["clock"]))
    return max(0.0, time.time() - float(str(moment["wall"])))
