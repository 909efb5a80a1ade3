"""Turns flags and configuration into the order for a machine, refusing what cannot be meant."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from gpuctl import resources
from gpuctl.config import Settings
from gpuctl.errors import UsageError
from gpuctl.models import Need
from gpuctl.services import image_refs, lease_terms
from gpuctl.services.deploy import Order
from gpuctl.services.lease_terms import LeaseWishes
from gpuctl.workloads import WORKLOADS

CLOUDS = ("secure", "community", "any")
MOST_VARIABLES = 50  # per pod (runpod.md §2.1)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line says; None and empty leave it to the configuration."""

    gpus: tuple[str, ...] = ()
    min_vram_gb: int | None = None
    cloud: str | None = None
    data_centers: tuple[str, ...] = ()
    volume_id: str | None = None
    image: str | None = None
    max_price_usd_h: float | None = None
    lease: LeaseWishes = field(default_factory=LeaseWishes)
    env: Mapping[str, str] = field(default_factory=dict)


def order(
    settings: Settings, workload: str, need: Need, public_key: str, wishes: Wishes | None = None
) -> Order:
    """Flags over configuration. Raises UsageError, ConfigError."""
    asked = wishes or Wishes()
    limit = asked.max_price_usd_h
    volume_id = asked.volume_id or settings.text_or_none("runpod.volume_id")
    return Order(
        workload=workload,
        need=replace(
            need,
            image=asked.image or need.image or image_refs.reference(settings, workload, "full"),
            vram_gb=need.vram_gb if asked.min_vram_gb is None else asked.min_vram_gb,
        ),
        cloud=cloud(settings, asked.cloud),
        gpus=asked.gpus or settings.strings("runpod.gpu"),
        data_centers=asked.data_centers or settings.strings("runpod.data_centers"),
        volume_id=volume_id,
        max_price_usd_h=settings.number("runpod.max_price_usd_h") if limit is None else limit,
        env={**told(settings, workload), **asked.env},
        public_key=public_key,
        boot_limit_s=settings.number("runpod.boot_limit_s"),
        boot_limit_usd=settings.number("runpod.boot_limit_usd"),
        lease=lease_terms.terms(settings, asked.lease, need, volume_id),
    )


def told(settings: Settings, workload: str) -> dict[str, str]:
    """What a workload's container is told of its configuration."""
    if workload not in WORKLOADS:
        return {}
    section = {
        key.partition(".")[2]: value.value
        for key, value in settings.items()
        if key.startswith(f"{workload}.")
    }
    tell = getattr(WORKLOADS[workload], "environment", None)
    found: dict[str, str] = tell(section) if tell else {}
    return found


def slim_image(settings: Settings, workload: str, image: str | None) -> str:
    """The configured leaner image. Raises UsageError when there is none, or with an `image`."""
    if image is not None:
        raise UsageError("--slim and --image both name the image", hint="give one of them")
    slim = {
        key.partition(".")[0]: str(value.value)
        for key, value in settings.items()
        if key.endswith(".image_slim") and value.value
    }
    if workload in slim:
        return slim[workload]
    if (resources.bundled("remote_scripts") / workload / "Dockerfile.slim").is_file():
        return image_refs.reference(settings, workload, "slim")
    raise UsageError(
        f"{workload} has no slim image: {workload}.image_slim is not set",
        hint=f"workloads with one: {', '.join(sorted(slim)) or 'none yet'}",
    )


def cloud(settings: Settings, asked: str | None) -> str:
    """The tier that is asked for, else the configured one. Raises UsageError."""
    wanted = (asked or settings.text("runpod.cloud")).lower()
    if wanted not in CLOUDS:
        raise UsageError(f"there is no cloud '{wanted}'", hint=f"one of {', '.join(CLOUDS)}")
    return wanted


def environment(pairs: Sequence[str]) -> dict[str, str]:
    """K=V, split at the first '=': the value may hold more of them. Raises UsageError."""
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not _VARIABLE.fullmatch(name):
            raise UsageError(f"--env wants NAME=VALUE, not '{name}'")
        found[name] = value
    if len(found) > MOST_VARIABLES:
        raise UsageError(f"a pod takes {MOST_VARIABLES} variables at most, not {len(found)}")
    return found


def listed(words: Sequence[str]) -> tuple[str, ...]:
    """A repeatable option whose values may also be separated by commas."""
    parts = (part.strip() for word in words for part in word.split(","))
    return tuple(part for part in parts if part)
