"""Sees to it that a workload's service runs on a machine: one shell command for each question."""

from __future__ import annotations

from dataclasses import dataclass

from gpuctl.errors import ConnectionFailed, JobFailed
from gpuctl.remote import scripts
from gpuctl.remote.base import LOST, Completed, Shell
from gpuctl.remote.quoting import with_workspace

_STARTED, _STARTING, _FAILED = "started", "starting", "failed"

# An image's entrypoint that is still at work is left alone: its note is fresh. The service gets a
# session of its own, so that it outlives this connection.
_START = """\
N=$W/run/$2.starting
if [ -f "$N" ] && [ -n "$(find "$N" -mmin -2 2>/dev/null)" ]; then
  echo starting; cat "$N"; exit 0
fi
if [ -f "$W/run/$2.failed" ]; then echo failed; cat "$W/run/$2.failed"; exit 0; fi
S=$W/.gpuctl/scripts/$1/run.py
[ -f "$S" ] || { echo "gpuctl: these scripts are not here yet" >&2; exit 75; }
command -v python3 >/dev/null || { echo "gpuctl: no python3" >&2; exit 76; }
mkdir -p "$W/run"
D=$(command -v setsid || echo nohup)
$D python3 -B "$S" service "$2" </dev/null >>"$W/run/$2.service.log" 2>&1 &
echo started
"""
_LOG = 'tail -n 12 "$W/run/$1.service.log" 2>/dev/null; :'


@dataclass(frozen=True, slots=True)
class Start:
    """`is_ours`: it was started just now; else the machine's own start is at `stage`."""

    is_ours: bool
    stage: str = ""


def start(shell: Shell, workload: str, *, workspace: str | None) -> Start:
    """Starts the service, with the scripts sent where they are missing.

    Raises JobFailed when the machine's own start ended with a reason, ConnectionFailed.
    """
    bundle = scripts.installed(workload)
    command = with_workspace(workspace, _START, bundle.hash, workload)
    completed = shell.run(command)
    if scripts.is_missing(completed.exit_code, completed.stderr):
        scripts.ship(shell, bundle, workspace=workspace)
        completed = shell.run(command)
    first, _, rest = _checked(completed).partition("\n")
    if first == _FAILED:
        raise JobFailed(
            f"the {workload} service's image did not start: {rest.strip()}",
            worker_code="worker_died",
            hint="gpuctl logs shows all of it; gpuctl restart tries again",
        )
    return Start(first == _STARTED, rest.strip())


def log(shell: Shell, workload: str, *, workspace: str | None) -> str:
    """The last lines that the service had to say."""
    return shell.run(with_workspace(workspace, _LOG, workload)).stdout.strip()


def _checked(completed: Completed) -> str:
    if completed.exit_code == LOST:
        raise ConnectionFailed("the connection was lost before the service was started")
    if completed.exit_code != 0:
        said = completed.stderr.strip() or f"exit code {completed.exit_code}"
        raise scripts.failure(completed) or JobFailed(
            f"the service could not be started: {said}", worker_code="worker_broken"
        )
    return completed.stdout
