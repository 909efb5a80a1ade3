"""How Automatic1111 reads a prompt: in chunks of 75 tokens, counted as its page counts them."""

from __future__ import annotations

from dataclasses import dataclass

from gpuctl.models import Json
from gpuctl.services import clip_tokens
from gpuctl.workloads import sd_prompt

CHUNK = 75
# A chunk that would end within so many tokens after a comma ends at the comma instead
# (the WebUI's option comma_padding_backtrack).
BACKTRACK = 20
_COMMA = 267


@dataclass(frozen=True, slots=True)
class Chunks:
    """`tokens` are those of the text; `sizes` how many each chunk holds, padding left out."""

    tokens: int
    sizes: tuple[int, ...]

    @property
    def room(self) -> int:
        """How many tokens fit before another chunk begins, as the page shows it."""
        return CHUNK * len(self.sizes)

    def line(self) -> str:
        shown = f"{self.tokens}/{self.room} tokens"
        if len(self.sizes) == 1:
            return shown
        return f"{shown} in {len(self.sizes)} chunks ({' + '.join(map(str, self.sizes))})"

    def to_json(self) -> Json:
        return {"tokens": self.tokens, "chunks": list(self.sizes), "room": self.room}


def measure(prompt: str) -> Chunks:
    """Counts the words that the text encoder gets; tags, brackets and weights are none."""
    sizes: list[int] = []
    total = 0
    for segment in sd_prompt.segments(prompt):
        ids = clip_tokens.encode(segment)[1:-1]
        total += len(ids)
        sizes += _split(ids)
    return Chunks(total, tuple(sizes) or (0,))


def _split(ids: list[int]) -> list[int]:
    sizes, size, comma = [], 0, -1
    for token in ids:
        if size == CHUNK:
            # The words since the last comma move into the next chunk.
            moved = size - comma - 1 if comma >= 0 and size - comma <= BACKTRACK else 0
            if token == _COMMA or moved == size:
                moved = 0
            sizes.append(size - moved)
            size, comma = moved, -1
        if token == _COMMA:
            comma = size
        size += 1
    return [*sizes, size]
