"""One recording, from its file or microphone to a transcript: over REST where that is possible,
else as a stream."""

from __future__ import annotations

import io
import wave
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from gpuctl.clients.whisper_live import RATE, SAMPLE_BYTES, Segment
from gpuctl.clients.whisper_live import Options as Options  # what commands ask with
from gpuctl.clients.whisper_rest import Rest
from gpuctl.errors import ApiError, ConnectionFailed
from gpuctl.models import Json, Report
from gpuctl.services.tapes import Tape, loud_s, loudness
from gpuctl.services.transcribing import Transcriber
from gpuctl.services.transcribing_pace import Pace
from gpuctl.services.transcripts import WORTH_SAYING_S, OnUpdate, Span, Transcript, gaps
from gpuctl.services.waiting import Clock
from gpuctl.services.whisper_places import Place

# One file over REST may take so long for each second of it, and at least the second number.
REST_LIMIT_FACTOR, REST_LEAST_S = 2.0, 300.0
# Of the server's own limit: a connection is left before the server ends it.
OF_SERVERS_LIMIT = 0.8


@dataclass(frozen=True, slots=True)
class Sound:
    """What is listened to. `open` begins to decode; `file` None = it can be heard only once."""

    name: str
    open: Callable[[], Iterator[bytes]]
    file: Path | None = None
    duration_s: float | None = None
    is_live: bool = False


@dataclass(frozen=True, slots=True)
class Ear:
    """A place that listens, and how."""

    place: Place
    options: Options
    pace: Pace
    clock: Clock
    report: Report
    ready_limit_s: float = 600.0

    def stream(self, tape: Tape, on_update: OnUpdate | None) -> Transcriber:
        return Transcriber(
            lambda: self.place.dial(self.options, self.ready_limit_s),
            tape,
            self.pace,
            self.clock,
            self.report,
            on_update,
        )


def paced(pace: Pace, status: Json) -> Pace:
    """The pace for a server that says how long it keeps a client."""
    limit_s = status.get("max_connection_s")
    if not isinstance(limit_s, int | float) or limit_s <= 0:
        return pace
    return replace(pace, leg_limit_s=min(pace.leg_limit_s, limit_s * OF_SERVERS_LIMIT))


@contextmanager
def opened(sound: Sound) -> Iterator[Iterator[bytes]]:
    """Its samples as they are decoded; ends the decoder."""
    source = sound.open()
    try:
        yield source
    finally:
        close = getattr(source, "close", None)
        if close is not None:
            close()


def rest_of(ear: Ear, sound: Sound) -> Rest | None:
    """The server's REST side, where it can do what is asked: it neither translates nor tells
    speakers apart, and wants a whole file."""
    asked = ear.options
    is_fit = sound.file is not None and asked.task == "transcribe" and not asked.diarize
    return ear.place.rest() if is_fit and not ear.pace.is_realtime else None


def at_once(ear: Ear, sound: Sound, rest: Rest) -> Transcript | None:
    """The whole file over REST; None when that did not work, and streaming may.

    Raises what decoding raises, CredentialsError.
    """
    began = ear.clock.now()
    with opened(sound) as source:
        samples = b"".join(source)
    duration_s = len(samples) / SAMPLE_BYTES / RATE
    limit_s = max(REST_LEAST_S, duration_s * REST_LIMIT_FACTOR)
    try:
        segments = rest.transcribe(_wav(samples), ear.options, limit_s=limit_s)
    except (ApiError, ConnectionFailed) as failure:
        ear.report.warn(f"{failure.message}; streaming instead")
        return None
    health = rest.health() or {}
    return Transcript(
        segments=tuple(segments),
        language=ear.options.language,
        duration_s=round(duration_s, 3),
        engine=str(health.get("backend", "unknown")),
        wordless=_wordless(samples, segments, duration_s),
        elapsed_s=round(ear.clock.now() - began, 3),
        way="rest",
    )


def _wordless(samples: bytes, segments: Sequence[Segment], duration_s: float) -> tuple[Span, ...]:
    loud = loudness(samples)
    return tuple(
        span
        for span in gaps(segments, duration_s)
        if loud_s(loud, span.begin, span.end or duration_s) >= WORTH_SAYING_S
    )


def _wav(samples: bytes) -> bytes:
    whole = io.BytesIO()
    with wave.open(whole, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(SAMPLE_BYTES)
        sound.setframerate(RATE)
        sound.writeframes(samples)
    return whole.getvalue()
