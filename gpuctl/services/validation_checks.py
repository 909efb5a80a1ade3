"""What the service of each workload must show on the rehearsal's machine before it is trusted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Protocol

from gpuctl.errors import GpuctlError, UsageError, ValidationFailed
from gpuctl.models import Json, Report
from gpuctl.services.waiting import Clock

# Workloads with a module validation_<name>, which holds their checks.
CHECKED = ("whisper",)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one check saw. `body` is what was answered, in full."""

    name: str
    is_ok: bool
    detail: str
    elapsed_s: float
    body: Json

    def as_json(self) -> Json:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Reach:
    """The way to the service: `port` gives the port of 127.0.0.1 that leads to one of its own.

    `section` is the workload's configuration.
    """

    port: Callable[[int], int]
    clock: Clock
    report: Report
    section: Mapping[str, object]
    ready_limit_s: float


class WorkloadCheck(Protocol):
    """Raises GpuctlError when it could not look; what it saw is in the evidence, good or bad."""

    def __call__(self, reach: Reach) -> Evidence: ...


def of(workload: str) -> dict[str, WorkloadCheck]:
    """The checks of a workload in their order, by name. Raises UsageError where there are none."""
    if workload not in CHECKED:
        raise UsageError(
            f"what {workload} must show on a rehearsal is not known",
            hint=f"there are checks for {', '.join(CHECKED)}",
        )
    # Its clients are loaded only when something is rehearsed.
    found: dict[str, WorkloadCheck] = import_module(f"gpuctl.services.validation_{workload}").CHECKS
    return found


def looked(name: str, check: WorkloadCheck, reach: Reach) -> Evidence:
    """The check, or why it could not look: that is evidence too."""
    began = reach.clock.now()
    try:
        return check(reach)
    except GpuctlError as error:
        elapsed_s = round(reach.clock.now() - began, 3)
        body = {"error": error.code, **_plain(error.details)}
        return Evidence(name, False, error.message, elapsed_s, body)


def refuse(seen: list[Evidence]) -> None:
    """Raises ValidationFailed for the first that is not well."""
    for each in seen:
        if not each.is_ok:
            raise ValidationFailed(
                f"{each.name}: {each.detail}",
                hint="gpuctl ec2 launch, then gpuctl ec2 test and gpuctl ec2 logs show more",
                details={"checks": [one.as_json() for one in seen]},
            )


def _plain(details: Mapping[str, object]) -> Json:
    return {key: value for key, value in details.items() if isinstance(value, str | int | float)}
