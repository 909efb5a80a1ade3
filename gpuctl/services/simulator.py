"""Looking after the simulator: what it holds, what shall go wrong in it, its end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gpuctl.errors import ApiError, UsageError
from gpuctl.models import Json
from gpuctl.sim import ec2_faults, launcher
from gpuctl.sim.kinds import FAULT_KINDS
from gpuctl.sim.launcher import Simulator


@dataclass(frozen=True, slots=True)
class SimulatorStatus:
    """`pods`, `volumes` and `faults` are empty when it does not run."""

    is_running: bool
    folder: Path
    api_url: str | None = None
    pid: int | None = None
    pods: tuple[Json, ...] = ()
    volumes: tuple[Json, ...] = ()
    faults: tuple[Json, ...] = ()

    def as_json(self) -> Json:
        return {
            "running": self.is_running,
            "folder": str(self.folder),
            "api_url": self.api_url,
            "pid": self.pid,
            "pods": [_pod_row(pod) for pod in self.pods],
            "volumes": list(self.volumes),
            "faults": list(self.faults),
        }


def status(folder: Path) -> SimulatorStatus:
    """Starts nothing."""
    found = launcher.running(folder)
    if found is None:
        return SimulatorStatus(is_running=False, folder=folder)
    told = launcher.status(found)
    return SimulatorStatus(
        is_running=True,
        folder=folder,
        api_url=found.api_url,
        pid=found.pid,
        pods=tuple(told["pods"]),
        volumes=tuple(told["networkVolumes"]),
        faults=tuple(told["faults"]),
    )


def stop(folder: Path) -> bool:
    """Ends the process and whatever runs in its pods; the pods are remembered. False: none ran."""
    return launcher.stop(folder)


def reset(folder: Path) -> None:
    """Stops it and forgets every pod, volume, key and fault."""
    launcher.reset(folder)


def fault_meaning(kind: str) -> str:
    """What the fault does. Raises UsageError for a kind that does not exist."""
    if kind not in FAULT_KINDS:
        raise UsageError(f"there is no fault {kind!r}", hint="gpuctl sim fault --list")
    return FAULT_KINDS[kind]


def add_fault(simulator: Simulator, kind: str, *, times: int | None, value: str | None) -> None:
    """Raises UsageError for a kind, count or value that does not exist."""
    fault_meaning(kind)
    if kind.startswith(ec2_faults.PREFIX):
        ec2_faults.add(simulator.folder, kind, value, times)
        return
    try:
        launcher.add_fault(simulator, kind, times=times, value=value)
    except ApiError as refusal:
        if refusal.status != 422:
            raise
        raise UsageError(refusal.message, hint="gpuctl sim fault --list") from refusal


def clear_faults(folder: Path) -> bool:
    """False when no simulator runs."""
    found = launcher.running(folder)
    if found is not None:
        launcher.clear_faults(found)
        ec2_faults.clear(folder)
    return found is not None


def _pod_row(pod: Json) -> Json:
    direct = pod["ssh"]["direct"]
    return {
        "id": pod["id"],
        "name": pod["name"],
        "status": pod["status"],
        "gpu": pod.get("gpu", {}).get("id"),
        "ssh": f"root@{direct['host']}:{direct['port']}" if direct else None,
    }
