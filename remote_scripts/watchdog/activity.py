"""What counts as work on this machine: jobs, people over ssh, and a busy GPU."""

from __future__ import annotations

import fcntl
import os
import subprocess
from pathlib import Path

ESTABLISHED, LISTEN = "01", "0A"
NVIDIA_SMI = ("nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits")
NVIDIA_LIMIT_S = 10.0


class Activity:
    """Remembers from one look to the next what a single look cannot tell."""

    def __init__(self, workspace: Path, gpu_idle_percent: float) -> None:
        self._workspace = workspace
        self._gpu_idle_percent = gpu_idle_percent
        self._changed = self._last_change()
        self._sessions: frozenset[str] = frozenset()
        self.gpu_percent: int | None = None

    def look(self) -> list[str]:
        """What holds off the idle stop now, in words; empty when nothing does."""
        self.gpu_percent = gpu_use()
        found = [f"{count} {name} job(s)" for name, count in running_jobs(self._workspace).items()]
        changed = self._last_change()
        if changed != self._changed:
            found.append("a job came")
        self._changed = changed
        # A status look-up lasts less than a tick: only who stays is a person.
        sessions = ssh_sessions()
        if sessions & self._sessions:
            found.append(f"{len(sessions & self._sessions)} ssh session(s)")
        self._sessions = sessions
        if self.gpu_percent is not None and self.gpu_percent > self._gpu_idle_percent:
            found.append(f"the GPU is {self.gpu_percent} % busy")
        return found

    def _last_change(self) -> int:
        """A short job may come and end between two looks: its folder stays."""
        try:
            return (self._workspace / "jobs").stat().st_mtime_ns
        except OSError:
            return 0


def running_jobs(workspace: Path) -> dict[str, int]:
    """Jobs without an end by workload. Those of a worker that died do not run (docs/worker.md)."""
    found = {}
    for folder in sorted((workspace / "run").glob("*.pending")):
        try:
            count = len(list(folder.iterdir()))
        except OSError:
            continue
        if count and _is_locked(folder.with_suffix(".lock")):
            found[folder.stem] = count
    return found


def ssh_sessions(tables: tuple[str, ...] = ("/proc/net/tcp", "/proc/net/tcp6")) -> frozenset[str]:
    """The far ends of the connections to this machine's sshd.

    A connection whose packets are not acknowledged any more belongs to a laptop that is gone.
    """
    ports = {f"{int(port):04X}" for port in (22, os.environ.get("RUNPOD_TCP_PORT_22") or 22)}
    rows = [row for table in tables for row in _rows(table)]
    listening = {row[1][-4:] for row in rows if row[3] == LISTEN} & ports
    return frozenset(
        row[2]
        for row in rows
        if row[3] == ESTABLISHED and row[1][-4:] in listening and int(row[6], 16) == 0
    )


def gpu_use() -> int | None:
    """Percent of the busiest card; None where the driver does not say."""
    try:
        done = subprocess.run(
            NVIDIA_SMI, capture_output=True, text=True, timeout=NVIDIA_LIMIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    numbers = [int(line) for line in done.stdout.split() if line.isdecimal()]
    return max(numbers, default=None)


def _rows(table: str) -> list[list[str]]:
    """Columns of /proc/net/tcp: number, local, remote, state, queues, timer, retransmits, …"""
    try:
        lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return []
    return [row for line in lines if len(row := line.split()) > 6]


def _is_locked(path: Path) -> bool:
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False
