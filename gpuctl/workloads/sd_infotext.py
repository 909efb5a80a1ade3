"""The text that Automatic1111 writes into its pictures, read back. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_PAIR = re.compile(r'\s*([\w][\w \-/]*):\s*("(?:\\.|[^\\"])*"|[^,]*)(?:,|$)')
_NEGATIVE = "Negative prompt:"
# Fewer pairs, and the last line is a line of the prompt that holds a colon.
_LEAST_PAIRS = 3


@dataclass(frozen=True, slots=True)
class Infotext:
    """`parameters`: Steps, Sampler, Seed, … as they stand there."""

    prompt: str
    negative: str
    parameters: dict[str, str] = field(default_factory=dict)

    def number(self, name: str) -> float | None:
        try:
            return float(self.parameters[name])
        except (KeyError, ValueError):
            return None


def parse(text: str) -> Infotext:
    """Never fails: what is no line of parameters belongs to the prompt."""
    lines = text.strip().split("\n")
    pairs = _PAIR.findall(lines[-1])
    if len(pairs) >= _LEAST_PAIRS:
        lines.pop()
    else:
        pairs = []
    prompt: list[str] = []
    negative: list[str] = []
    target = prompt
    for line in lines:
        if line.startswith(_NEGATIVE):
            target = negative
            line = line[len(_NEGATIVE) :]
        target.append(line.strip())
    parameters = {name.strip(): value.strip().strip('"') for name, value in pairs}
    return Infotext("\n".join(prompt).strip(), "\n".join(negative).strip(), parameters)
