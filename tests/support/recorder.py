"""A Report that keeps what services say."""

from __future__ import annotations


class Recorder:
    """`lines` has everything as (kind, text), in order."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def step(self, text: str) -> None:
        self.lines.append(("step", text))

    def note(self, text: str) -> None:
        self.lines.append(("note", text))

    def warn(self, text: str) -> None:
        self.lines.append(("warn", text))

    def progress(self, stage: str, done: float, total: float | None) -> None:
        self.lines.append(("progress", f"{stage} {done:g}"))

    def said(self, kind: str) -> list[str]:
        return [text for what, text in self.lines if what == kind]
