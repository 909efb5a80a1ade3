"""What was heard, put together from what servers say again and again: pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from gpuctl.clients.whisper_live import News, Segment
from gpuctl.models import Json

TOLERANCE_S = 0.01
# A gap in the transcript that has so much sound in it is worth a word.
WORTH_SAYING_S = 3.0


@dataclass(frozen=True, slots=True)
class Span:
    """Seconds of the audio; `end` None = up to its end, wherever that is."""

    begin: float
    end: float | None

    def overlaps(self, other: Span) -> bool:
        ends = [float("inf") if one.end is None else one.end for one in (self, other)]
        return self.begin < ends[1] and other.begin < ends[0]

    def as_json(self) -> Json:
        return {"begin": round(self.begin, 3), "end": self.end and round(self.end, 3)}


@dataclass(frozen=True, slots=True)
class Transcript:
    """`lost`: audio that could not be transcribed. `wordless`: sound in which the model heard no
    words. `engine` is what the server calls its backend; `elapsed_s` from first to last byte."""

    segments: tuple[Segment, ...]
    language: str | None
    duration_s: float
    engine: str = "unknown"
    lost: tuple[Span, ...] = ()
    wordless: tuple[Span, ...] = ()
    elapsed_s: float = 0.0
    way: str = "websocket"
    reconnects: int = 0

    @property
    def text(self) -> str:
        return " ".join(segment.text.strip() for segment in self.segments if segment.text.strip())

    @property
    def is_whole(self) -> bool:
        return not self.lost


@dataclass(frozen=True, slots=True)
class Update:
    """What is new: `segments` for good, `open` may still change; seconds of the audio."""

    segments: Sequence[Segment]
    open: Sequence[Segment]
    heard_s: float
    length_s: float


OnUpdate = Callable[[Update], None]


@dataclass(slots=True)
class Hearing:
    """Collects segments across connections, each once, by their time in the whole audio.

    Only what is completed is kept; `open` are the segments that may still change.
    """

    accepted: list[Segment] = field(default_factory=list)
    open: tuple[Segment, ...] = ()
    _gone: tuple[Segment, ...] = ()
    language: str | None = None

    @property
    def done_s(self) -> float:
        """The end of what is kept."""
        return self.accepted[-1].end if self.accepted else 0.0

    @property
    def heard_s(self) -> float:
        return max([self.done_s, *(segment.end for segment in self.open)])

    def take(self, news: News, offset_s: float) -> list[Segment]:
        """Adds a message of a connection that began at `offset_s`; gives what is new for good."""
        new: list[Segment] = []
        if news.language:
            self.language = news.language
        if news.segments is not None:
            told = [shifted(segment, offset_s) for segment in news.segments]
            new += [one for one in told if one.is_completed and self._keep(one)]
            still = tuple(one for one in told if not one.is_completed and self._is_new(one))
            self._gone, self.open = (() if still else self.open), still
        if news.position is not None:
            new += self._settle_before(news.position + offset_s)
        return new

    def settle(self) -> list[Segment]:
        """Takes what is open for final: all the audio was heard."""
        new = [one for one in map(_completed, self.open) if self._keep(one)]
        self.open = self._gone = ()
        return new

    def drop_open(self) -> None:
        """Its audio will be sent again."""
        self.open = self._gone = ()

    def _settle_before(self, position_s: float) -> list[Segment]:
        """The server is done with it but never said so: it takes a sentence that came twice in a
        row for an echo."""
        both = (*self._gone, *self.open)
        passed = [one for one in both if one.end <= position_s + TOLERANCE_S]
        self._gone = ()
        self.open = tuple(one for one in self.open if one not in passed)
        return [one for one in map(_completed, passed) if self._keep(one)]

    def _keep(self, segment: Segment) -> bool:
        if not self._is_new(segment):
            return False
        self.accepted.append(segment)
        return True

    def _is_new(self, segment: Segment) -> bool:
        """Windows overlap: what mostly lies before the end of what is kept was there already."""
        middle = (segment.start + segment.end) / 2
        return segment.start >= self.done_s - TOLERANCE_S or middle > self.done_s + TOLERANCE_S


def shifted(segment: Segment, by_s: float) -> Segment:
    words = tuple(
        replace(word, start=word.start + by_s, end=word.end + by_s) for word in segment.words
    )
    return replace(segment, start=segment.start + by_s, end=segment.end + by_s, words=words)


def gaps(segments: Sequence[Segment], duration_s: float) -> list[Span]:
    """Where no segment lies."""
    found, at = [], 0.0
    for segment in segments:
        if segment.start > at:
            found.append(Span(at, segment.start))
        at = max(at, segment.end)
    return [*found, Span(at, duration_s)] if duration_s > at else found


def word_error(expected: str, heard: str) -> float:
    """Words that must be changed, added or left out, for each word that was said. 0 = all right."""
    said, got = words_of(expected), words_of(heard)
    row = list(range(len(got) + 1))
    for number, word in enumerate(said, 1):
        before, row[0] = row[0], number
        for column, other in enumerate(got, 1):
            cost = min(row[column] + 1, row[column - 1] + 1, before + (word != other))
            before, row[column] = row[column], cost
    return row[-1] / max(1, len(said))


def words_of(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.lower())


def _completed(segment: Segment) -> Segment:
    return replace(segment, is_completed=True)
