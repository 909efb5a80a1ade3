"""What an EC2 command line asks for, over what the configuration says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from gpuctl.config import Settings
from gpuctl.errors import UsageError
from gpuctl.models import MachineRequest, Need
from gpuctl.services import durations, ec2_timer
from gpuctl.services.budget import Storage
from gpuctl.services.ec2_preparing import Wishes
from gpuctl.services.leases import Terms

SHORTEST_TTL_S = 600.0
# A rehearsal has no work to finish: its deadline is its end.
NO_GRACE_S = 0.0


@dataclass(frozen=True, slots=True)
class Asked:
    """The flags of `ec2 launch` and `ec2 validate`; None leaves it to the configuration."""

    types: Sequence[str] = ()
    region: str | None = None
    is_spot: bool | None = None
    ttl: str | None = None
    admitted: str | None = None
    disk_gb: int | None = None


def wishes(settings: Settings, asked: Asked, *, home: str, now: float) -> Wishes:
    """`home` is the region unless another is asked for. Raises UsageError, ConfigError."""
    ttl_s = ttl_of(settings, asked)
    kinds = tuple(asked.types) or settings.strings("ec2.types")
    if not kinds:
        raise UsageError("no instance type is asked for", hint="--type g4dn.xlarge")
    is_spot = settings.flag("ec2.spot") if asked.is_spot is None else asked.is_spot
    return Wishes(
        region=asked.region or home,
        types=kinds,
        ami_parameter=settings.text("ec2.ami_parameter"),
        user=settings.text("ec2.user"),
        ttl_s=ttl_s,
        expires_at=ec2_timer.rfc3339(now + ttl_s),
        is_spot=is_spot,
        subnet_id=settings.text_or_none("ec2.subnet_id"),
        admitted=asked.admitted,
        address_url=settings.text("ec2.address_url"),
        timeout_s=settings.number("ec2.timeout_s"),
    )


def ttl_of(settings: Settings, asked: Asked) -> float:
    """Seconds. Raises UsageError for one in which nothing could be done."""
    text = asked.ttl or settings.text("ec2.ttl")
    ttl_s = durations.parsed(text, "--ttl" if asked.ttl else "ec2.ttl")
    if ttl_s < SHORTEST_TTL_S:
        raise UsageError(
            f"{text} is too short: an instance needs minutes to boot", hint="--ttl 30m"
        )
    return ttl_s


def request(
    settings: Settings,
    asked: Asked,
    workload: str,
    image: str,
    need: Need,
    env: Mapping[str, str] | None = None,
) -> MachineRequest:
    """The workload's own need, on an instance's disk."""
    return MachineRequest(
        name=f"gpuctl-{workload}",
        workload=workload,
        need=replace(
            need,
            image=image,
            disk_gb=asked.disk_gb or settings.integer("ec2.disk_gb"),
            volume_gb=0,
        ),
        env=env or {},
    )


def terms(settings: Settings, asked: Asked, need: Need) -> Terms:
    """An instance ends at its deadline, and is never stopped: a stopped one would be kept."""
    return Terms(
        ttl_s=ttl_of(settings, asked),
        grace_s=NO_GRACE_S,
        at_deadline="terminate",
        storage=Storage(need.disk_gb, 0),
    )
