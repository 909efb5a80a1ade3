"""What an account holds and is billed for, whoever rents it out: records and list prices."""

from __future__ import annotations

from dataclasses import dataclass

from gpuctl.models import MachineRequest

HOURS_A_MONTH = 730.0
# USD for a GB and month (runpod.md §7.1).
DISK_USD_GB_MONTH = 0.10
STOPPED_DISK_USD_GB_MONTH = 0.20
VOLUME_USD_GB_MONTH = 0.07
LARGE_VOLUME_USD_GB_MONTH = 0.05
LARGE_VOLUME_FROM_GB = 1000
STANDARD = "STANDARD"


@dataclass(frozen=True, slots=True)
class Holding:
    """One thing in an account that bills, or would if it were woken.

    `kind` is pod, endpoint, volume, instance or disk. `usd_h` is what it bills now, storage
    included; None when its price is not known here. `is_running`: more than storage is billed.
    `tag` is what its provider says of its origin beyond the name (an EC2 tag), `detail` words for
    people, `attached_to` the machines that mount it; `ends_with_them`: storage that is deleted with
    the last of those.
    """

    provider: str
    kind: str
    id: str
    name: str
    status: str
    detail: str
    usd_h: float | None
    is_running: bool
    place: str | None = None
    workload: str | None = None
    created_at: str | None = None
    tag: str | None = None
    attached_to: tuple[str, ...] = ()
    ends_with_them: bool = False


@dataclass(frozen=True, slots=True)
class Volume:
    """A network volume. `usd_month` is None for the tier whose price differs by place."""

    id: str
    name: str
    size_gb: int
    data_center: str
    tier: str
    attached_to: tuple[str, ...] = ()

    @property
    def usd_month(self) -> float | None:
        return volume_usd_month(self.size_gb, self.tier)


@dataclass(frozen=True, slots=True)
class VolumeOrder:
    """A network volume that is wanted."""

    name: str
    size_gb: int
    data_center: str
    tier: str = STANDARD

    @property
    def usd_month(self) -> float | None:
        return volume_usd_month(self.size_gb, self.tier)


@dataclass(frozen=True, slots=True)
class Bill:
    """What was billed for one thing between two RFC 3339 times. `kind` as in Holding."""

    kind: str
    id: str
    began: str
    ended: str
    usd: float


@dataclass(frozen=True, slots=True)
class DataCenter:
    """A place, what its GPUs are called, and how many of each it has (HIGH, MEDIUM, LOW).

    `volume_tiers` are the kinds of network volumes there, STANDARD first.
    """

    id: str
    region: str
    volume_tiers: tuple[str, ...] = ()
    stock: tuple[tuple[str, str], ...] = ()

    @property
    def has_volumes(self) -> bool:
        return bool(self.volume_tiers)


@dataclass(frozen=True, slots=True)
class PastOrder:
    """What a machine was rented as, so that the same can be asked for again."""

    request: MachineRequest
    gpu_id: str | None
    gpu_count: int
    cloud: str
    has_own_volume: bool


def volume_usd_month(size_gb: int, tier: str = STANDARD) -> float | None:
    """A standard network volume has two prices by size; those of the others differ by place."""
    if tier != STANDARD:
        return None
    large_gb = max(0, size_gb - LARGE_VOLUME_FROM_GB)
    return round(
        (size_gb - large_gb) * VOLUME_USD_GB_MONTH + large_gb * LARGE_VOLUME_USD_GB_MONTH, 4
    )


def pod_storage_usd_h(*, disk_gb: int, volume_gb: int, is_stopped: bool) -> float:
    """Container disk and pod volume; a stopped pod has no disk, and its volume costs double."""
    if is_stopped:
        return volume_gb * STOPPED_DISK_USD_GB_MONTH / HOURS_A_MONTH
    return (disk_gb + volume_gb) * DISK_USD_GB_MONTH / HOURS_A_MONTH
