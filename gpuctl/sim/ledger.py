"""What the simulated account owes: how long each thing was billed at which rate."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass

from gpuctl.models import Json

HOURS_A_MONTH = 730.0
# USD for a GB and month (runpod.md §7.1): disks of a running pod, of a stopped one, and volumes.
RUNNING_DISK, STOPPED_DISK = 0.10, 0.20
VOLUME, LARGE_VOLUME, LARGE_FROM_GB = 0.07, 0.05, 1000

Rates = dict[str, float]


@dataclass(slots=True)
class Segment:
    """`rates` has USD an hour by the name of the amount; times are Unix seconds."""

    kind: str
    id: str
    began: float
    ended: float | None
    rates: Rates


class Ledger:
    """Safe to use from every thread."""

    def __init__(self, records: Iterable[Json], now: Callable[[], float] = time.time) -> None:
        self._segments = [Segment(**record) for record in records]
        self._now = now
        self._lock = threading.Lock()

    def observe(self, kind: str, rates: Mapping[str, Rates]) -> None:
        """From now on exactly these things of this kind are billed, at these rates."""
        now = self._now()
        with self._lock:
            running = {s.id: s for s in self._segments if s.kind == kind and s.ended is None}
            for key in running.keys() | rates.keys():
                current, wanted = running.get(key), rates.get(key)
                if current is not None and current.rates == wanted:
                    continue
                if current is not None:
                    current.ended = now
                if wanted is not None:
                    self._segments.append(Segment(kind, key, now, None, wanted))

    def owed(self, kind: str, began: float, ended: float) -> dict[str, Rates]:
        """USD by id and amount for what was billed between the two times."""
        now, found = self._now(), dict[str, Rates]()
        with self._lock:
            for segment in self._segments:
                last = min(now if segment.ended is None else segment.ended, ended)
                hours = (last - max(segment.began, began)) / 3600
                if segment.kind == kind and hours > 0:
                    amounts = found.setdefault(segment.id, {})
                    for name, rate in segment.rates.items():
                        amounts[name] = amounts.get(name, 0.0) + rate * hours
        return found

    def records(self) -> list[Json]:
        with self._lock:
            return [asdict(segment) for segment in self._segments]


def pod_rates(pod: Json, cost_usd_h: float) -> Rates:
    """`pod` is its record (sim/pod.py), `cost_usd_h` what its GPU costs now."""
    kept_gb = pod["mounts"].get("persistent", {}).get("size", 0)
    is_stopped = pod["status"] in ("EXITED", "ERROR")
    disk = kept_gb * STOPPED_DISK if is_stopped else (kept_gb + pod["disk_gb"]) * RUNNING_DISK
    is_gpu = pod["gpu_id"] is not None
    return {
        "gpuAmount": cost_usd_h if is_gpu else 0.0,
        "cpuAmount": 0.0 if is_gpu else cost_usd_h,
        "diskAmount": disk / HOURS_A_MONTH,
    }


def volume_rates(volume: Json) -> Rates:
    size = volume["size"]
    month = min(size, LARGE_FROM_GB) * VOLUME + max(0, size - LARGE_FROM_GB) * LARGE_VOLUME
    is_standard = volume["type"] == "STANDARD"
    return {
        "standardAmount": month / HOURS_A_MONTH if is_standard else 0.0,
        "highPerformanceAmount": 0.0 if is_standard else 2 * month / HOURS_A_MONTH,
    }
