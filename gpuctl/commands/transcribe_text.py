"""What is shown while something is transcribed, and after it."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field

from gpuctl.commands.render import money, seconds
from gpuctl.console import Console
from gpuctl.models import Json
from gpuctl.services.jobs import cost_usd
from gpuctl.services.subtitles import segment_json
from gpuctl.services.transcript_keeping import Kept
from gpuctl.services.transcripts import Span, Update
from gpuctl.services.waiting import Clock

# Of the words that are there already, as much as a person needs to find the place.
LINES_SHOWN = 6
WIDTH = 78
REDRAW_S = 0.25


@dataclass(slots=True)
class Display:
    """In place on a terminal, as events under --json, else now and then a line of progress."""

    console: Console
    name: str
    duration_s: float | None
    price_usd_h: float | None
    clock: Clock
    _words: list[str] = field(default_factory=list)
    _open: Json | None = None
    _began: float = 0.0
    _told_s: float = -1.0
    _drawn_words: object = None
    _drawn_at: float = 0.0

    def show(self, update: Update) -> None:
        self._began = self._began or self.clock.now()
        self._words += [segment.text.strip() for segment in update.segments]
        if self.console.is_json:
            self._emit(update)
        elif self.console.is_watched:
            self._redraw(update)
        elif int(update.heard_s) != int(self._told_s):
            self._told_s = update.heard_s
            heard_s = round(min(update.heard_s, self.duration_s or update.heard_s), 1)
            total = self.duration_s and round(self.duration_s, 1)
            self.console.progress(f"transcribing {self.name}: seconds", heard_s, total)

    def close(self) -> None:
        self.console.close()

    def _redraw(self, update: Update) -> None:
        """Servers repeat themselves many times a second: only what is new is drawn at once."""
        now, words = self.clock.now(), (len(self._words), tuple(one.text for one in update.open))
        if words == self._drawn_words and now - self._drawn_at < REDRAW_S:
            return
        self._drawn_words, self._drawn_at = words, now
        self.console.redraw(self._drawn(update))

    def _emit(self, update: Update) -> None:
        """One line for each segment that is final, and for each new guess at the open end."""
        for segment in update.segments:
            told = segment_json(segment)
            self.console.emit({"event": "segment", "source": self.name, **told})
        for segment in update.open[-1:]:
            told = segment_json(segment)
            if told != self._open:
                self._open = told
                self.console.emit({"event": "partial", "source": self.name, **told})

    def _drawn(self, update: Update) -> str:
        text = " ".join(filter(None, self._words))
        tail = " ".join(segment.text.strip() for segment in update.open)
        lines = textwrap.wrap(f"{text} {tail}".strip(), WIDTH)[-LINES_SHOWN:]
        return "\n".join([*lines, self.console.style_result(self._status(update), "dim")])

    def _status(self, update: Update) -> str:
        elapsed_s = max(0.001, self.clock.now() - self._began)
        total_s = self.duration_s or update.length_s
        parts = [f"{timestamp(min(update.heard_s, total_s))} of {timestamp(total_s)}"]
        if elapsed_s > 1:
            parts.append(f"{update.heard_s / elapsed_s:.1f}× real time")
        if self.price_usd_h:
            parts.append(money(self.price_usd_h * elapsed_s / 3600))
        return " · ".join(parts)


def summary(kept: Kept) -> str:
    """`talk.mp4: 61 s of audio in 7.2 s · 8.5× real time · small · $0.0009`."""
    heard, record = kept.transcript, kept.record
    speed = heard.duration_s / heard.elapsed_s if heard.elapsed_s else 0.0
    parts = [
        f"{record.input['source']}: {seconds(heard.duration_s)} of audio in "
        f"{seconds(heard.elapsed_s)}",
        f"{speed:.1f}× real time",
        "simulated" if heard.engine == "sim" else str(record.input.get("model")),
    ]
    if heard.reconnects:
        parts.append(f"{heard.reconnects + 1} connections")
    cost = cost_usd(record)
    if cost is not None:
        parts.append(money(cost))
    return " · ".join(parts)


def span_text(span: Span) -> str:
    end = "the end" if span.end is None else timestamp(span.end)
    return f"{timestamp(span.begin)} to {end}"


def timestamp(value_s: float) -> str:
    minutes, rest = divmod(max(0, int(value_s)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
