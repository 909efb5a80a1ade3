"""Streams sound to a WhisperLive server so that nothing is lost, and puts together what it says.

What the server loses, and the rule against each loss, is in workloads.md §2.3: audio that is too
far ahead of what was heard, a last second, all that has no text when the end is said, connections
that last too long or break.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from gpuctl.clients.whisper_live import (
    RATE,
    SAMPLE_BYTES,
    LiveConnection,
    News,
    Segment,
    ServerFull,
)
from gpuctl.errors import ConnectionFailed, HostKeyChanged
from gpuctl.models import Report
from gpuctl.services.jobs import RETRY_FIRST_S, RETRY_MOST_S
from gpuctl.services.tapes import Tape
from gpuctl.services.transcribing_pace import Leg, Pace
from gpuctl.services.transcripts import (
    WORTH_SAYING_S,
    Hearing,
    OnUpdate,
    Span,
    Transcript,
    Update,
    gaps,
)
from gpuctl.services.waiting import Clock

# A connection whose server is ready for audio from second 0 on.
Dial = Callable[[], LiveConnection]


# A part of the audio at which the connection breaks again and again is left out.
MOST_BREAKS = 3
POLL_S = 0.05
BEFORE_SOUND_S = 0.3
# Less sound than this without a word is breath and noise.
WORTH_HEARING_S = 1.0


@dataclass(slots=True)
class Transcriber:
    """One audio, from its first second to its last, over as many connections as that takes."""

    dial: Dial
    tape: Tape
    pace: Pace
    clock: Clock
    report: Report
    on_update: OnUpdate | None = None
    hearing: Hearing = field(default_factory=Hearing)
    lost: list[Span] = field(default_factory=list)
    _skipped_s: float = 0.0
    _engine: str = "unknown"
    _legs: int = 0
    _began: float = 0.0

    def run(self) -> Transcript:
        """To the end of the audio. What could not be transcribed is in `lost`, nothing is raised
        for it. Raises what the source of the audio raises, CredentialsError, JobFailed, and
        ConnectionFailed or ServerFull when there was never a connection; KeyboardInterrupt passes,
        `finished` gives what there is."""
        self._began = self.clock.now()
        breaks = 0
        while True:
            before = self.done_s
            connection = self._connected()
            if connection is None:
                self.lost.append(Span(self.done_s, None))
                break
            try:
                with connection:
                    if self._ride(connection, self._leg()):
                        break
            except HostKeyChanged:
                raise
            except ConnectionFailed as failure:
                self.report.warn(f"{failure.message}; going on where it stopped")
            breaks = breaks + 1 if self.done_s <= before else 0
            if breaks >= MOST_BREAKS:
                self._leave_out(min(self.done_s + self.pace.lead_s, self.tape.length_s))
                breaks = 0
            self.hearing.drop_open()
            if self.tape.is_ended and self.done_s >= self.tape.length_s:
                break
        self._mind_a_broken_source()
        return self.finished()

    def finished(self) -> Transcript:
        """What there is so far."""
        self._tell(self.hearing.settle())
        duration_s = self.tape.length_s
        lost = tuple(self.lost)
        return Transcript(
            segments=tuple(self.hearing.accepted),
            language=self.hearing.language,
            duration_s=round(duration_s, 3),
            engine=self._engine,
            lost=lost,
            wordless=tuple(self._wordless(duration_s)),
            elapsed_s=round(self.clock.now() - self._began, 3),
            reconnects=max(0, self._legs - 1),
        )

    def _mind_a_broken_source(self) -> None:
        failure = self.tape.failure
        if failure is None:
            return
        if not self.tape.length_s:
            raise failure
        self.report.warn(str(failure))
        self.lost.append(Span(self.tape.length_s, None))

    @property
    def done_s(self) -> float:
        """Up to where nothing has to be sent again: not the silence, but for its last moment."""
        done_s = max(self.hearing.done_s, self._skipped_s)
        return max(done_s, self.tape.quiet_until(done_s) - BEFORE_SOUND_S)

    def _leg(self) -> Leg:
        now = self.clock.now()
        self._legs += 1
        at = self.done_s
        return Leg(at, now, at, at, sent_at=now, progress_at=now, news_at=now)

    def _connected(self) -> LiveConnection | None:
        """None when the server stayed away for too long, after there had been a connection."""
        began, pause_s = self.clock.now(), RETRY_FIRST_S
        while True:
            try:
                connection = self.dial()
            except HostKeyChanged:
                raise
            except (ConnectionFailed, ServerFull) as failure:
                is_full = isinstance(failure, ServerFull)
                limit_s = self.pace.wait_limit_s if is_full else self.pace.reconnect_limit_s
                is_first = self._legs == 0 and not is_full
                if is_first or self.clock.now() - began + pause_s > limit_s:
                    if self._legs == 0:
                        raise
                    self.report.warn(failure.message)
                    return None
                self.report.step(f"{failure.message}; trying again")
                self.clock.sleep(pause_s)
                pause_s = min(RETRY_MOST_S, pause_s * 2)
            else:
                self._engine = connection.backend
                return connection

    def _ride(self, connection: LiveConnection, leg: Leg) -> bool:
        """True when all of the audio was heard; False when another connection shall go on.

        Raises ConnectionFailed when this one broke.
        """
        while True:
            wait_s = self._send_what_may(connection, leg)
            news = connection.news(wait_s)
            while news is not None:
                if news.is_disconnect:
                    self._leave(leg)
                    return False
                self._hear(leg, news)
                news = connection.news(0)
            if self._is_heard_out(leg):
                self._tell(self.hearing.settle())
                _end(connection)
                return True
            if self._is_stalled(leg):
                self._give_up_on_part(leg)
                _end(connection)
                return False
            if leg.padded_at is None and self.clock.now() - leg.began > self.pace.leg_limit_s:
                self._leave(leg)
                _end(connection)
                return False

    def _leave(self, leg: Leg) -> None:
        """What is open will be heard again; unless nothing else was heard in all that time."""
        if self.done_s <= leg.offset_s:
            self._tell(self.hearing.settle())

    def _send_what_may(self, connection: LiveConnection, leg: Leg) -> float:
        """Sends a frame if that is allowed now; gives the seconds to listen before the next."""
        if leg.padded_at is not None:
            return POLL_S
        frame = self.tape.take(leg.sent_s, self.pace.frame_s)
        if not frame:
            if self.tape.is_ended and leg.sent_s >= self.tape.length_s - 1 / RATE:
                connection.send(bytes(int(self.pace.padding_s * RATE) * SAMPLE_BYTES))
                leg.padded_at = leg.sent_at = self.clock.now()
                leg.repeats = 0
            return POLL_S
        wait_s = self._rest_s(leg)
        if wait_s > 0:
            return min(wait_s, POLL_S)
        connection.send(frame)
        leg.sent_s += len(frame) / SAMPLE_BYTES / RATE
        leg.sent_at = self.clock.now()
        return 0.0

    def _rest_s(self, leg: Leg) -> float:
        """Seconds until the next frame may go; 0 = now."""
        pace, now = self.pace, self.clock.now()
        if pace.is_realtime and leg.sent_s > now - self._began:
            return leg.sent_s - (now - self._began)
        lead_s = leg.sent_s - self._acknowledged_s(leg)
        if leg.sent_s - max(leg.position_s, self.done_s) > pace.most_open_s:
            lead_s = max(lead_s, pace.most_lead_s)
        if lead_s < pace.lead_s:
            return 0.0
        if lead_s < pace.most_lead_s:
            return max(0.0, leg.sent_at + pace.frame_s - now)
        return POLL_S

    def _acknowledged_s(self, leg: Leg) -> float:
        """Up to where the server has heard; silence needs no words."""
        heard_s = max(self.hearing.heard_s, leg.position_s, self._skipped_s)
        return min(leg.sent_s, self.tape.quiet_until(heard_s))

    def _hear(self, leg: Leg, news: News) -> None:
        if news.warning:
            self.report.warn(news.warning)
        before = self._acknowledged_s(leg), self.done_s
        leg.hear(news, self.clock.now())
        new = self.hearing.take(news, leg.offset_s)
        # Never beyond the end of the audio: there is padding behind it.
        self._skipped_s = max(self._skipped_s, min(leg.position_s, leg.sent_s))
        if (self._acknowledged_s(leg), self.done_s) != before:
            leg.progress_at = self.clock.now()
        self.tape.forget(min(self.done_s, leg.sent_s))
        self._tell(new)

    def _tell(self, new: Sequence[Segment]) -> None:
        if self.on_update is not None:
            heard_s = max(self.hearing.heard_s, self._skipped_s)
            self.on_update(Update(new, self.hearing.open, heard_s, self.tape.length_s))

    def _is_heard_out(self, leg: Leg) -> bool:
        if leg.padded_at is None:
            return False
        now = self.clock.now()
        is_loud = self.tape.loud_s(self._acknowledged_s(leg), leg.sent_s) > WORTH_HEARING_S
        has_open = bool(self.hearing.open)
        is_too_long = now - leg.padded_at > self.pace.drain_limit_s
        if not is_too_long and not leg.is_heard_out(now, has_open=has_open, is_loud=is_loud):
            return False
        is_deaf = leg.last_content is None and not leg.tells_position
        if is_loud and (is_too_long or is_deaf):
            self.lost.append(Span(self._acknowledged_s(leg), leg.sent_s))
        return True

    def _is_stalled(self, leg: Leg) -> bool:
        """So much was sent, and nothing more is heard of it."""
        if leg.padded_at is not None:
            return False
        lead_s = leg.sent_s - min(self._acknowledged_s(leg), max(leg.position_s, self.done_s))
        is_ahead = lead_s >= self.pace.most_lead_s - self.pace.frame_s
        return is_ahead and self.clock.now() - leg.progress_at > self.pace.stall_s

    def _give_up_on_part(self, leg: Leg) -> None:
        """Takes the words that there are, and leaves out the rest of what was sent."""
        self._tell(self.hearing.settle())
        self._leave_out(leg.sent_s)

    def _leave_out(self, until_s: float) -> None:
        begin = self.done_s
        if self.tape.loud_s(begin, until_s) > WORTH_HEARING_S:
            self.lost.append(Span(begin, until_s))
        self._skipped_s = max(self._skipped_s, until_s)
        self.tape.forget(until_s)

    def _wordless(self, duration_s: float) -> list[Span]:
        """Sound without words that is long enough to wonder about; what is lost is told already."""
        return [
            span
            for span in gaps(self.hearing.accepted, duration_s)
            if self.tape.loud_s(span.begin, span.end or duration_s) >= WORTH_SAYING_S
            and not any(span.overlaps(lost) for lost in self.lost)
        ]


def _end(connection: LiveConnection) -> None:
    """Frees the place on the server at once."""
    with suppress(ConnectionFailed):
        connection.end()
