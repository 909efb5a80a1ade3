"""How fast audio goes to a WhisperLive server, and when a connection has said all it will: pure."""

from __future__ import annotations

from dataclasses import dataclass

from gpuctl.clients.whisper_live import News

# Where a server does not tell how far it is: words that come so often in a row will not change.
SAME_OFTEN = 3
SETTLE_S = 2.5
QUIET_S = 4.0
# … and a first look at loud audio may take it so long.
LOUD_QUIET_S = 30.0
TELLING_STEP_S = 0.002
# A look that leaves sound without words may be followed by one at what comes after them: more of
# them than the ten repeats after which the server goes on.
LOUD_PASSES = 13


@dataclass(frozen=True, slots=True)
class Pace:
    """How the audio is sent. Seconds.

    `lead_s` ahead of what was heard: sent as fast as it goes; up to `most_lead_s`: as fast as it
    was spoken; never further, nor `most_open_s` ahead of what is completed. After `leg_limit_s`
    another connection takes over, before the server ends this one. `stall_s` without progress: the
    part that stands still is taken as it is. `drain_limit_s` for the last words.
    """

    lead_s: float = 12.0
    most_lead_s: float = 28.0
    most_open_s: float = 35.0
    padding_s: float = 2.0
    frame_s: float = 0.25
    leg_limit_s: float = 240.0
    stall_s: float = 20.0
    drain_limit_s: float = 120.0
    reconnect_limit_s: float = 600.0
    wait_limit_s: float = 600.0
    is_realtime: bool = False


@dataclass(slots=True)
class Leg:
    """One connection: where in the audio it began, how far it is; seconds of the whole audio."""

    offset_s: float
    began: float
    sent_s: float
    position_s: float
    received_s: float = -1.0
    sent_at: float = 0.0
    progress_at: float = 0.0
    padded_at: float | None = None
    last_content: object = None
    repeats: int = 0
    passes: int = 0
    passes_at_all: int | None = None
    news_at: float = 0.0
    longest_pass_s: float = 0.0

    def hear(self, news: News, now: float) -> None:
        """Takes what a message says of the connection itself."""
        if news.position is not None:
            position_s = self.offset_s + news.position
            if position_s > self.position_s:
                self.position_s, self.passes_at_all = position_s, None
        if news.received is not None:
            self.received_s = self.offset_s + news.received
            self.passes = news.passes
            if self.has_received_all and self.passes_at_all is None:
                self.passes_at_all = news.passes
        if news.segments is not None:
            self.longest_pass_s = max(self.longest_pass_s, now - self.news_at)
            self.repeats = self.repeats + 1 if news.segments == self.last_content else 0
            self.last_content = news.segments
        self.news_at = now

    @property
    def tells_position(self) -> bool:
        return self.received_s >= 0

    @property
    def has_received_all(self) -> bool:
        """The last sample, and some of the padding."""
        return self.padded_at is not None and self.received_s > self.sent_s

    @property
    def has_ended(self) -> bool:
        """The server says that it is done with all of it."""
        return self.tells_position and self.position_s >= self.sent_s - TELLING_STEP_S

    def is_heard_out(self, now: float, *, has_open: bool, is_loud: bool) -> bool:
        """All was sent, and what the server says of it will not change.

        `has_open`: it may still change its mind about some words; `is_loud`: there is sound at the
        end of which it said nothing at all.
        """
        if self.padded_at is None:
            return False
        if self.tells_position:
            looks = 0 if self.passes_at_all is None else self.passes - self.passes_at_all
            is_looked_at = looks >= (LOUD_PASSES if is_loud else 1)
            return self.has_received_all and (self.has_ended or is_looked_at)
        if has_open and self.repeats >= SAME_OFTEN and now - self.padded_at > SETTLE_S:
            return True
        limit_s = LOUD_QUIET_S if is_loud and not has_open else QUIET_S
        return now - max(self.padded_at, self.news_at) > max(limit_s, 3 * self.longest_pass_s)
