"""What a transcription service must show before it is trusted: it lives, takes clients, hears.

Used by `gpuctl test`, by deploy's canary and by the EC2 rehearsal. The caller brings the way in: a
`Get` for the health port, a `Dial` for the WebSocket.
"""

from __future__ import annotations

import json
import wave
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gpuctl import resources
from gpuctl.clients.whisper_rest import Get
from gpuctl.errors import ConnectionFailed, GpuctlError, NotFound, ValidationFailed
from gpuctl.models import Json, Report
from gpuctl.services.tapes import Tape
from gpuctl.services.transcribing import Dial, Transcriber
from gpuctl.services.transcribing_pace import Pace
from gpuctl.services.transcripts import Transcript, word_error
from gpuctl.services.waiting import Clock, wait_for

SIMULATED = "sim"
READY_POLL_S = 3.0
# A service that is being restarted by its container comes back sooner.
ABSENT_LIMIT_S = 60.0
# Above this the words are not those that were said. Small models err on a synthetic voice.
MOST_WORD_ERROR = 0.35


@dataclass(frozen=True, slots=True)
class Check:
    """One look. `body` is what was answered."""

    name: str
    is_ok: bool
    detail: str
    elapsed_s: float
    body: Json = field(default_factory=dict)

    def as_json(self) -> Json:
        return {
            "name": self.name,
            "ok": self.is_ok,
            "detail": self.detail,
            "elapsed_s": self.elapsed_s,
            "body": self.body,
        }


@dataclass(frozen=True, slots=True)
class Sample:
    """A short recording and what is said in it; `simulated` is what the stand-in hears in it."""

    file: Path
    text: str
    simulated: str

    def expected(self, engine: str) -> str:
        return self.simulated if engine == SIMULATED else self.text

    def samples(self) -> bytes:
        with wave.open(str(self.file)) as sound:
            return bytes(sound.readframes(sound.getnframes()))


@dataclass(frozen=True, slots=True)
class Spoken:
    """How the sample was heard. `word_error` 0 = every word."""

    transcript: Transcript
    expected: str
    word_error: float

    @property
    def is_ok(self) -> bool:
        return self.transcript.is_whole and self.word_error <= MOST_WORD_ERROR

    def as_json(self) -> Json:
        heard = self.transcript
        return {
            "ok": self.is_ok,
            "engine": heard.engine,
            "simulated": heard.engine == SIMULATED,
            "expected": self.expected,
            "heard": heard.text,
            "word_error": round(self.word_error, 3),
            "audio_s": heard.duration_s,
            "elapsed_s": heard.elapsed_s,
        }


def health(get: Get, clock: Clock) -> Check:
    """Whether it lives. Raises nothing for a service that is not there: see `is_ok`."""
    return _asked("health", "/health", get, clock)


def ready(get: Get, clock: Clock) -> Check:
    """Whether WhisperLive takes a client."""
    return _asked("ready", "/ready", get, clock)


def status(get: Get, clock: Clock) -> Check:
    """Model, GPU, clients, configuration: for the report."""
    return _asked("status", "/status", get, clock)


def until_ready(get: Get, clock: Clock, *, limit_s: float, report: Report) -> Check:
    """Asks until it takes a client: the first start downloads the model.

    Raises TimedOut, ValidationFailed when the service says that it has failed, NotFound when
    nothing of it is there for a while: it listens for such questions from its first second on.
    """
    last_seen = clock.now()

    def look() -> Check | None:
        nonlocal last_seen
        found = ready(get, clock)
        if found.is_ok:
            return found
        if found.body:
            last_seen = clock.now()
        elif clock.now() - last_seen > ABSENT_LIMIT_S:
            raise NotFound(
                f"no transcription service answers: {found.detail}",
                hint="gpuctl logs shows why it ended; gpuctl restart begins anew",
            )
        _refuse_failed(get, clock)
        detail = found.detail if found.body else "it does not answer yet"
        report.step(f"waiting for the transcription service: {detail}")
        return None

    return wait_for(
        look, timeout_s=limit_s, every_s=READY_POLL_S, clock=clock, what="the service to be ready"
    )


def _refuse_failed(get: Get, clock: Clock) -> None:
    alive = health(get, clock)
    if alive.body.get("status") == "failed":
        raise ValidationFailed(
            f"the transcription service failed: {alive.body.get('error')}",
            hint="gpuctl logs shows the whole story",
        )


def sample() -> Sample:
    """The recording that is sent along with the service's own scripts."""
    folder = resources.bundled("remote_scripts") / "whisper"
    told = json.loads((folder / "sample.json").read_text(encoding="utf-8"))
    return Sample(folder / "sample.wav", told["text"], told["simulated"])


def transcription(dial: Dial, spoken: Sample, clock: Clock, report: Report) -> Spoken:
    """Sends the sample as any other sound and compares the words.

    Raises ConnectionFailed, ServerFull, CredentialsError, JobFailed.
    """
    tape = Tape(_in_pieces(spoken.samples()))
    try:
        heard = Transcriber(dial, tape, Pace(reconnect_limit_s=30.0), clock, report).run()
    finally:
        tape.close()
    expected = spoken.expected(heard.engine)
    return Spoken(heard, expected, word_error(expected, heard.text))


def refuse(checks: list[Check], spoken: Spoken | None = None) -> None:
    """Raises ValidationFailed for the first that is not well."""
    for check in checks:
        if not check.is_ok:
            raise ValidationFailed(
                f"{check.name}: {check.detail}",
                hint="gpuctl logs",
                details={"checks": [one.as_json() for one in checks]},
            )
    if spoken is not None and not spoken.is_ok:
        raise ValidationFailed(
            f"the sample was heard as “{spoken.transcript.text}” instead of “{spoken.expected}” "
            f"(word error {spoken.word_error:.0%})",
            hint="a larger whisper.model, or another whisper.compute_type",
            details={"transcription": spoken.as_json()},
        )


def _asked(name: str, path: str, get: Get, clock: Clock) -> Check:
    began = clock.now()
    try:
        code, body = get(path)
    except ConnectionFailed as failure:
        return Check(name, False, failure.message, _since(clock, began))
    except GpuctlError as failure:
        return Check(name, False, f"{failure.code}: {failure.message}", _since(clock, began))
    said = body.get("detail") or body.get("error") or body.get("status") or ""
    return Check(name, code == 200, f"{code} {said}".strip(), _since(clock, began), body)


def _since(clock: Clock, began: float) -> float:
    return round(clock.now() - began, 3)


def _in_pieces(samples: bytes) -> Iterator[bytes]:
    for at in range(0, len(samples), 32_000):
        yield samples[at : at + 32_000]
