"""What the simulated engine hears: one segment for each stretch of sound, one word each 0.4 s.

A word stands for a pitch: 200 Hz is the first word of the list, each 100 Hz more the next one. So
a test can spell a sentence in tones, and what was lost or came twice can be read off the text.
Speech gives words too, always the same ones, and none that were spoken.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

RATE = 16000
FRAME = 320  # 20 ms
WORD_FRAMES = 20  # 0.4 s
# Two sounds with less between them are one.
GAP_FRAMES = 15  # 0.3 s
QUIET = 400  # mean absolute sample value up to which a frame is silence
LOWEST_HZ, STEP_HZ = 200, 100
WORDS = """alpha bravo charlie delta echo foxtrot golf hotel india juliett kilo lima mike november
oscar papa quebec romeo sierra tango uniform victor whiskey xray yankee zulu""".split()  # noqa: SIM905  26 lines otherwise


@dataclass(frozen=True)
class Heard:
    """Seconds from the beginning of the samples."""

    start: float
    end: float
    words: tuple[tuple[float, float, str], ...]

    @property
    def text(self) -> str:
        return "".join(word for _, _, word in self.told_words)

    @property
    def told_words(self) -> list[tuple[float, float, str]]:
        """Labelled: nobody shall take it for what was said."""
        label = ["[sim] "] + [""] * (len(self.words) - 1)
        return [
            (start, end, f" {mark}{word}")
            for mark, (start, end, word) in zip(label, self.words, strict=True)
        ]


def listen(samples: Sequence[int]) -> list[Heard]:
    """Every stretch of sound in 16 kHz samples of 16 bits, in order."""
    loud = [_is_loud(samples[at : at + FRAME]) for at in range(0, len(samples) - FRAME + 1, FRAME)]
    return [_heard(samples, first, last) for first, last in _stretches(loud)]


def _is_loud(frame: Sequence[int]) -> bool:
    return sum(map(abs, frame)) > QUIET * len(frame)


def _stretches(loud: Sequence[bool]) -> list[tuple[int, int]]:
    """(first frame, frame after the last) of each, short gaps bridged."""
    found: list[tuple[int, int]] = []
    for index, is_loud in enumerate(loud):
        if not is_loud:
            continue
        if found and index - found[-1][1] < GAP_FRAMES:
            found[-1] = (found[-1][0], index + 1)
        else:
            found.append((index, index + 1))
    return found


def _heard(samples: Sequence[int], first: int, last: int) -> Heard:
    count = max(1, round((last - first) / WORD_FRAMES))
    edges = [first + (last - first) * number // count for number in range(count + 1)]
    words = tuple(
        (_seconds(a), _seconds(b), _word(samples[(a + 1) * FRAME : (b - 1) * FRAME]))
        for a, b in pairwise(edges)
    )
    return Heard(_seconds(first), _seconds(last), words)


def _seconds(frame: int) -> float:
    return frame * FRAME / RATE


def _word(samples: Sequence[int]) -> str:
    """By the rate of zero crossings, which for a tone is twice its pitch. Without the frames at the
    edges, of which a part may be silent."""
    signs = [value >= 0 for value in samples]
    crossings = sum(a != b for a, b in pairwise(signs))
    pitch = crossings * RATE / 2 / max(1, len(samples))
    return WORDS[max(0, round((pitch - LOWEST_HZ) / STEP_HZ)) % len(WORDS)]


def samples_of(data: bytes, audio_format: str) -> array[int]:
    """The frames of a client as 16-bit samples, whatever it sends them as."""
    if audio_format == "int16":
        return array("h", data)
    if audio_format == "uint8":
        return array("h", [(byte - 128) << 8 for byte in data])
    return array("h", [max(-32768, min(32767, int(x * 32767))) for x in array("f", data)])
