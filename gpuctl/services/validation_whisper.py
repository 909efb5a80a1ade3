"""What WhisperLive must show on a rehearsal: it lives, it takes a client, it hears every word."""

from __future__ import annotations

from collections.abc import Callable

from gpuctl.clients.whisper_live import Options, connect
from gpuctl.clients.whisper_rest import getter
from gpuctl.errors import TimedOut
from gpuctl.models import Json
from gpuctl.services import whisper_checks
from gpuctl.services.validation_checks import Evidence, Reach, WorkloadCheck
from gpuctl.services.waiting import wait_for
from gpuctl.workloads import whisper

# The most that a container's first answer, and a handshake, may take.
HANDSHAKE_LIMIT_S = 120.0


def _alive(reach: Reach) -> Evidence:
    """The container may take a while to open its port; that it lives is then all that is asked."""
    return _waited(whisper_checks.health, reach)


def _ready(reach: Reach) -> Evidence:
    found = whisper_checks.until_ready(
        _get(reach), reach.clock, limit_s=reach.ready_limit_s, report=reach.report
    )
    return _evidence(found)


def _status(reach: Reach) -> Evidence:
    return _evidence(whisper_checks.status(_get(reach), reach.clock))


def _heard(reach: Reach) -> Evidence:
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


CHECKS: dict[str, WorkloadCheck] = {
    "health": _alive,
    "ready": _ready,
    "status": _status,
    "transcription": _heard,
}
