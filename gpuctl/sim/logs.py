"""A pod's log: what the system and the container said, each line with its own timestamp as id."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

from gpuctl.sim import clock

KEPT_LINES = 5000


@dataclass(frozen=True, slots=True)
class Line:
    """`ts` is RFC 3339, unique and growing within a pod. `source` is system or container."""

    ts: str
    source: str
    line: str


class PodLog:
    """Kept in memory and in a file, so that it survives the simulator."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._lines: deque[Line] = deque(maxlen=KEPT_LINES)
        if path.exists():
            rows = path.read_text(encoding="utf-8").splitlines()
            self._lines.extend(Line(**json.loads(row)) for row in rows[-KEPT_LINES:])

    def write(self, source: str, text: str) -> None:
        with self._lock:
            moment = clock.now()
            if self._lines and clock.rfc3339(moment) <= self._lines[-1].ts:
                moment = clock.parsed(self._lines[-1].ts) + timedelta(microseconds=1)
            line = Line(clock.rfc3339(moment), source, text)
            self._lines.append(line)
            if self._path.parent.is_dir():  # a terminated pod has no folder any more
                with self._path.open("a", encoding="utf-8") as stream:
                    stream.write(json.dumps(asdict(line)) + "\n")

    def system(self, text: str) -> None:
        self.write("system", text)

    def container(self, text: str) -> None:
        self.write("container", text)

    def after(self, ts: str, *, inclusive: bool = False) -> list[Line]:
        return self._select(lambda line: line.ts > ts or (inclusive and line.ts == ts))

    def tail(self, count: int, source: str | None) -> list[Line]:
        lines = self._select(lambda line: source in (None, line.source))
        return lines[-count:] if count else []

    def _select(self, wanted: Callable[[Line], bool]) -> list[Line]:
        with self._lock:
            return [line for line in self._lines if wanted(line)]
