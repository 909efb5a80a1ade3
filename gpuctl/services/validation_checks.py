"""What the service of each workload must show on the rehearsal's machine before it is trusted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Protocol

from gpuctl.clients.whisper_live import Options, connect
from gpuctl.clients.whisper_rest import getter
from gpuctl.errors import GpuctlError, UsageError, ValidationFailed
from gpuctl.models import Json, Report
from gpuctl.services import whisper_checks
from gpuctl.services.waiting import Clock
from gpuctl.workloads import whisper

# The most that a wait for one check takes while nothing has failed yet.
HANDSHAKE_LIMIT_S = 120.0


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
    found = CHECKS.get(workload)
    if found is None:
        raise UsageError(
            f"what {workload} must show on a rehearsal is not known",
            hint=f"there are checks for {', '.join(CHECKS)}",
        )
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


def _whisper_alive(reach: Reach) -> Evidence:
    """The container may take a while to open its port; that it lives is then all that is asked."""
    return _waited(whisper_checks.health, reach)


def _whisper_ready(reach: Reach) -> Evidence:
    found = whisper_checks.until_ready(
        _get(reach), reach.clock, limit_s=reach.ready_limit_s, report=reach.report
    )
    return _evidence(found)


def _whisper_status(reach: Reach) -> Evidence:
    return _evidence(whisper_checks.status(_get(reach), reach.clock))


def _whisper_heard(reach: Reach) -> Evidence:
    """A real transcription of the recording that is sent along, word for word."""
    url = f"ws://127.0.0.1:{reach.port(whisper.WHISPER_PORT)}"
    options = Options(model=str(reach.section["model"]), language="en")
    spoken = whisper_checks.transcription(
        lambda: connect(url, options, ready_limit_s=HANDSHAKE_LIMIT_S),
        whisper_checks.sample(),
        reach.clock,
        reach.report,
    )
    heard = spoken.transcript
    detail = f"“{heard.text}”, word error {spoken.word_error:.0%}"
    return Evidence("transcription", spoken.is_ok, detail, heard.elapsed_s, spoken.as_json())


def _waited(look: Callable[..., whisper_checks.Check], reach: Reach) -> Evidence:
    from gpuctl.errors import TimedOut  # noqa: PLC0415  only here
    from gpuctl.services.waiting import wait_for  # noqa: PLC0415  likewise

    last: list[whisper_checks.Check] = []

    def answered() -> whisper_checks.Check | None:
        last[:] = [look(_get(reach), reach.clock)]
        return last[0] if last[0].is_ok or last[0].body else None

    try:
        return _evidence(
            wait_for(answered, timeout_s=HANDSHAKE_LIMIT_S, every_s=2.0, clock=reach.clock)
        )
    except TimedOut:
        return _evidence(last[0])


def _get(reach: Reach) -> Callable[[str], tuple[int, Json]]:
    return getter(f"http://127.0.0.1:{reach.port(whisper.HEALTH_PORT)}")


def _evidence(check: whisper_checks.Check) -> Evidence:
    return Evidence(check.name, check.is_ok, check.detail, check.elapsed_s, check.body)


def _plain(details: Mapping[str, object]) -> Json:
    return {key: value for key, value in details.items() if isinstance(value, str | int | float)}


CHECKS: dict[str, dict[str, WorkloadCheck]] = {
    whisper.NAME: {
        "health": _whisper_alive,
        "ready": _whisper_ready,
        "status": _whisper_status,
        "transcription": _whisper_heard,
    },
}
