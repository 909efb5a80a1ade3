"""From flags and configuration to the terms of a lease, refusing what cannot be meant."""

from __future__ import annotations

from dataclasses import dataclass

from gpuctl.config import Settings
from gpuctl.errors import ConfigError, UsageError
from gpuctl.models import Need
from gpuctl.services import durations
from gpuctl.services.budget import Storage
from gpuctl.services.leases import Terms

WORKSPACE = "/workspace"
ENDS = ("terminate", "stop")


@dataclass(frozen=True, slots=True)
class LeaseWishes:
    """What the command line says; None leaves it to the configuration."""

    ttl: str | None = None
    idle_stop: str | None = None
    budget_usd: float | None = None
    is_waived: bool = False
    reason: str | None = None


def terms(settings: Settings, asked: LeaseWishes, need: Need, volume_id: str | None) -> Terms:
    """Flags over configuration. Raises UsageError, ConfigError."""
    _check(asked)
    at_deadline = settings.text("lease.at_deadline")
    if at_deadline not in ENDS:
        raise ConfigError(f"lease.at_deadline is '{at_deadline}'", hint=f"one of {', '.join(ENDS)}")
    return Terms(
        ttl_s=_span(asked.ttl, settings, "lease.ttl", "--ttl"),
        idle_stop_s=_span(asked.idle_stop, settings, "lease.idle_stop", "--idle-stop"),
        budget_usd=asked.budget_usd,
        reason=asked.reason if asked.is_waived else None,
        grace_s=durations.parsed(settings.text("lease.grace"), "lease.grace"),
        boot_grace_s=durations.parsed(settings.text("lease.boot_grace"), "lease.boot_grace"),
        gpu_idle_percent=settings.number("lease.gpu_idle_percent"),
        at_deadline=at_deadline,
        storage=Storage(need.disk_gb, 0 if volume_id else need.volume_gb),
        volume_path=WORKSPACE if volume_id else None,
    )


def _check(asked: LeaseWishes) -> None:
    has_limits = asked.ttl or asked.idle_stop or asked.budget_usd is not None
    if asked.is_waived and has_limits:
        raise UsageError("--no-lease and --ttl, --idle-stop or --budget exclude each other")
    if asked.is_waived and not (asked.reason or "").strip():
        raise UsageError(
            "--no-lease needs a reason, which is recorded",
            hint='--no-lease --reason "a week of training, watched by …"',
        )
    if asked.reason and not asked.is_waived:
        raise UsageError("--reason goes with --no-lease")


def _span(flag: str | None, settings: Settings, key: str, name: str) -> float | None:
    """Seconds; None where the configuration says so. A flag can only set a span."""
    if flag is not None:
        return durations.parsed(flag, name)
    configured = settings.text_or_none(key)
    return None if configured is None else durations.parsed(configured, key)
