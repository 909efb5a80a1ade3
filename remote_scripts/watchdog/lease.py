"""The lease as the machine holds it: spans that count from the moment they arrived."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from watchdog import clock

Json = dict[str, Any]


@dataclass(frozen=True)
class Lease:
    """Seconds since `received`; None = never. The sender's clock plays no part.

    From `drain_in_s` on the machine ends as soon as no job runs, from `end_in_s` on whatever runs.
    """

    serial: int
    drain_in_s: float | None = None
    end_in_s: float | None = None
    warn_in_s: float | None = None
    idle_stop_s: float | None = None
    boot_grace_s: float = 0.0
    gpu_idle_percent: float = 5.0
    at_deadline: str = "terminate"
    volume_path: str | None = None
    script: str = ""
    received: Json = field(default_factory=clock.stamp)

    @property
    def age_s(self) -> float:
        return clock.since(self.received)

    def left_s(self, span_s: float | None) -> float | None:
        """Seconds until the end of one of the spans; below zero when it is over."""
        return None if span_s is None else span_s - self.age_s


def parsed(document: Json | None) -> Lease | None:
    """Fields that this version does not know are left alone. None for what is no lease."""
    if document is None:
        return None
    known = {name: document[name] for name in Lease.__dataclass_fields__ if name in document}
    try:
        lease = Lease(**known)
        for span in (lease.drain_in_s, lease.end_in_s, lease.idle_stop_s):
            float(span or 0.0)
        return lease if lease.at_deadline in ("terminate", "stop") else None
    except (TypeError, ValueError):
        return None
