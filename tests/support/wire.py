"""What simulators recorded during a test, held against the description when the test ends."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.support.openapi import Exchange, violations


class Wire:
    """The folder that simulators record into, read on from where the last look ended."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0
        self._read: Counter[Path] = Counter()
        self._fine: set[str] = set()

    def violations(self) -> list[str]:
        """What is new and not allowed. An exchange like one that was fine is not looked at."""
        found: list[str] = []
        for exchange in self._fresh():
            self.count += 1
            key = exchange.key()
            if key in self._fine:
                continue
            problems = violations(exchange)
            found += problems
            if not problems:
                self._fine.add(key)
        return found

    def _fresh(self) -> Iterator[Exchange]:
        for path in sorted(self.folder.glob("*.ndjson")):
            with path.open("rb") as stream:
                stream.seek(self._read[path])
                whole, _, _half = stream.read().rpartition(b"\n")
            if whole:
                self._read[path] += len(whole) + 1
                yield from (Exchange.of(json.loads(line)) for line in whole.split(b"\n"))
