"""The shutdown that waits on an EC2 instance, over one Shell: moved, and read back."""

from __future__ import annotations

from dataclasses import dataclass

from gpuctl.errors import ConnectionFailed, GpuctlError
from gpuctl.remote.base import LOST, Completed, Shell

LIMIT_S = 20.0
# systemd's own record of a shutdown that waits. The variables are the simulator's: its instances
# are folders.
_READ = 'date +%s; cat "${GPUCTL_SCHEDULED:-/run/systemd/shutdown/scheduled}" 2>/dev/null; :'
_ARM = (
    'shutdown -P "+$1" "gpuctl: this instance ends by itself" && '
    'mkdir -p "${GPUCTL_ROOT:-}/var/lib/gpuctl" && '
    'echo "$(( $(date +%s) + $1 * 60 ))" >"${GPUCTL_ROOT:-}/var/lib/gpuctl/deadline"'
)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Seconds until it powers off, by its own clock; None when nothing waits."""

    remaining_s: float | None
    mode: str = ""


def read(shell: Shell) -> Waiting:
    """Changes nothing. Raises ConnectionFailed, GpuctlError."""
    lines = _text(shell.run(["sh", "-c", _READ], timeout_s=LIMIT_S)).splitlines()
    said = dict(line.partition("=")[::2] for line in lines[1:])
    if not said.get("USEC", "").isdigit():
        return Waiting(None)
    return Waiting(int(said["USEC"]) / 1e6 - float(lines[0]), said.get("MODE", ""))


def arm(shell: Shell, minutes: int) -> Waiting:
    """Powers off after so many minutes from now, also after a reboot; the timer as read back."""
    argv = ["sudo", "-n", "sh", "-c", _ARM, "sh", str(minutes)]
    _text(shell.run(argv, timeout_s=LIMIT_S))
    return read(shell)


def _text(completed: Completed) -> str:
    if completed.exit_code == LOST:
        raise ConnectionFailed("the connection was lost before the instance answered")
    if completed.exit_code != 0:
        said = completed.stderr.strip().splitlines()[-1:] or [f"exit code {completed.exit_code}"]
        raise GpuctlError(f"the timer could not be asked: {said[0]}")
    return completed.stdout
