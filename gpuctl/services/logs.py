"""A machine's log: what it said so far without ever hanging, or all it says from now on."""

from __future__ import annotations

import queue
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from gpuctl.errors import ApiError, GpuctlError, NotFound, UsageError
from gpuctl.models import Machine, Report
from gpuctl.providers.base import LogLine, Provider
from gpuctl.services.waiting import Clock

Line = LogLine

SOURCES = ("system", "container")
MOST_TAIL = 5000
# The stream has no end (runpod.md §2.5): silence is taken for it. Once lines came, a short one.
QUIET_S = 5.0
QUIET_AFTER_LINES_S = 1.0
SILENCE_S = 5.0
RETRY_FIRST_S = 0.5
RETRY_MOST_S = 10.0
# What is replayed after a reconnection is never longer than this.
_REMEMBERED_LINES = 10_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """`since` is RFC 3339; with it `tail` counts only what came since."""

    source: str | None = None
    tail: int = 100
    since: str | None = None


def wanted(source: str | None, tail: int | None, since: datetime | None) -> Wanted:
    """Raises UsageError for what the service would refuse."""
    if source not in (None, *SOURCES):
        raise UsageError(f"there is no log source '{source}'", hint=f"one of {', '.join(SOURCES)}")
    if tail is not None and not 0 <= tail <= MOST_TAIL:
        raise UsageError(f"--tail is from 0 to {MOST_TAIL}")
    moment = since.astimezone(UTC).isoformat().replace("+00:00", "Z") if since else None
    most = MOST_TAIL if since else 100
    return Wanted(source, most if tail is None else tail, moment)


def backfill(provider: Provider, machine: Machine, asked: Wanted) -> list[LogLine]:
    """What the log holds now. Never takes longer than QUIET_S of silence.

    Raises NotFound, ApiError, CredentialsError.
    """
    if asked.tail == 0:
        return []
    stream = _Stream(
        provider.logs(
            machine.id, source=asked.source, tail=asked.tail, quiet_s=QUIET_S, since=asked.since
        )
    )
    found: list[LogLine] = []
    with stream:
        while line := stream.next(QUIET_AFTER_LINES_S if found else QUIET_S):
            found.append(line)
    return found[-asked.tail :]


def follow(
    provider: Provider,
    machine: Machine,
    asked: Wanted,
    *,
    clock: Clock,
    limit_s: float,
    report: Report,
) -> Iterator[LogLine]:
    """Every line once, across dropped streams. Ends when the machine is gone, and says so.

    Raises ApiError when the service stayed away for `limit_s`, CredentialsError, and NotFound when
    there was no such machine in the first place.
    """
    seen = _Seen()
    away = _Away(clock, limit_s)
    while True:
        away.trying()
        try:
            for line in _new_lines(provider, machine, asked, seen):
                away.is_back()
                yield line
        except NotFound:
            if not seen.has_begun:
                raise
            report.warn(f"{machine.name} is gone: its log ends here")
            return
        except ApiError as failure:
            if not _may_pass(failure) or away.is_too_long():
                raise
            report.step(f"the log broke off ({failure.message}); reconnecting")
        seen.has_begun = True
        away.pause()


def _new_lines(
    provider: Provider, machine: Machine, asked: Wanted, seen: _Seen
) -> Iterator[LogLine]:
    """Until the stream ends. In silence it is asked whether the machine still exists: nothing
    says that the service ends the stream of one that is gone."""
    stream = _Stream(
        provider.logs(
            machine.id,
            source=asked.source,
            tail=asked.tail,
            since=asked.since,
            after=seen.last_id,
        )
    )
    with stream:
        while not stream.has_ended:
            line = stream.next(SILENCE_S)
            if line is not None and seen.is_new(line):
                yield line
            elif line is None and provider.get(machine.id).status == "TERMINATED":
                raise NotFound(f"{machine.name} is gone")


def _may_pass(failure: ApiError) -> bool:
    return failure.status is None or failure.status == 429 or failure.status >= 500


class _Away:
    """How long the service has been away, and how long to wait before it is asked again."""

    def __init__(self, clock: Clock, limit_s: float) -> None:
        self._clock = clock
        self._limit_s = limit_s
        self._pause_s = RETRY_FIRST_S
        self._since = self._asked_at = clock.now()

    def trying(self) -> None:
        self._asked_at = self._clock.now()

    def is_back(self) -> None:
        self._pause_s = RETRY_FIRST_S
        self._since = self._clock.now()

    def is_too_long(self) -> bool:
        now = self._clock.now()
        if now - self._asked_at > QUIET_S:  # a silent stream was open until now
            self.is_back()
        return now - self._since > self._limit_s

    def pause(self) -> None:
        self._clock.sleep(self._pause_s)
        self._pause_s = min(RETRY_MOST_S, self._pause_s * 2)


class _Seen:
    """The lines that were shown, so that a replay shows none twice."""

    def __init__(self) -> None:
        self.last_id: str | None = None
        self.has_begun = False
        self._lines: OrderedDict[tuple[str, str, str], None] = OrderedDict()

    def is_new(self, line: LogLine) -> bool:
        key = (line.ts, line.source, line.text)
        self.has_begun = True
        self.last_id = line.id or self.last_id
        if key in self._lines:
            return False
        self._lines[key] = None
        if len(self._lines) > _REMEMBERED_LINES:
            self._lines.popitem(last=False)
        return True


class _Stream:
    """Read in a thread, because a stream may be silent for ever (keep-alives are bytes, too)."""

    def __init__(self, lines: Iterator[LogLine]) -> None:
        self.has_ended = False
        self._lines = lines
        self._came: queue.SimpleQueue[LogLine | GpuctlError | None] = queue.SimpleQueue()
        self._is_left = threading.Event()
        threading.Thread(target=self._read, name="log", daemon=True).start()

    def next(self, limit_s: float) -> LogLine | None:
        """The next line, None when none came within `limit_s` or none ever will. Raises what the
        stream raised."""
        try:
            found = self._came.get(timeout=limit_s)
        except queue.Empty:
            return None
        if isinstance(found, GpuctlError):
            raise found
        self.has_ended = found is None
        return found

    def _read(self) -> None:
        try:
            for line in self._lines:
                self._came.put(line)
                if self._is_left.is_set():
                    return
            self._came.put(None)
        except GpuctlError as error:
            self._came.put(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """The thread ends with the next line, or with the process."""
        self._is_left.set()
