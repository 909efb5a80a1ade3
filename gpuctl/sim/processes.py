"""Finding and ending what runs inside a pod, recognised by a marker in its environment."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

# In the environment of whatever runs in a pod, and of the simulator's own process.
POD_MARKER = "RUNPOD_POD_ID"
FOLDER_MARKER = "GPUCTL_SIM_FOLDER"
SERVER_MARKER = "GPUCTL_SIM_SERVER"
POLL_S = 0.01


def with_marker(name: str, value: str) -> list[int]:
    """Process ids whose environment holds `name=value`. Never this process."""
    marker = f"{name}={value}"
    proc = Path("/proc")
    pids = _from_proc(proc, marker) if (proc / "self/environ").exists() else _from_ps(marker)
    return [pid for pid in pids if pid != os.getpid()]


def kill_all(name: str, value: str, *, limit_s: float = 5.0) -> list[int]:
    """Kills until nothing carries the marker; gives back what is left after the limit (nothing)."""
    deadline = time.monotonic() + limit_s
    while (left := with_marker(name, value)) and time.monotonic() < deadline:
        for pid in left:
            _kill(pid)
        time.sleep(POLL_S)
    return left


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[:1] == ["Z"]


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _from_proc(proc: Path, marker: str) -> list[int]:
    needle = marker.encode()
    found = []
    for entry in proc.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            environ = (entry / "environ").read_bytes()
        except OSError:  # it ended, or it is another user's
            continue
        if needle in environ.split(b"\0"):
            found.append(int(entry.name))
    return found


def _from_ps(marker: str) -> list[int]:
    """macOS has no /proc; its ps shows the environment of one's own processes with -E."""
    listing = subprocess.run(
        ["ps", "-Eww", "-axo", "pid=,command="], capture_output=True, text=True, check=False
    ).stdout
    rows = (line.split() for line in listing.splitlines())
    return [int(row[0]) for row in rows if marker in row[1:]]
