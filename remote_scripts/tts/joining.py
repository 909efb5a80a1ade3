"""Puts spoken chunks together: no click, no lost sound, no step in loudness.

Separate generations do not overlap in content: they are trimmed near silence and set apart by a
pause. A crossfade is right only where the audio itself overlaps (workloads.md §1.8).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Samples = NDArray[np.float32]
else:
    Samples = Any

# Below the loudest frame; fricatives at the ends of words lie above it.
SILENCE_DB = -45.0
FRAME_MS = 5
# What stays on either side of the sound; the fade has to lie inside.
MARGIN_MS = 15
FADE_MS = 8
PAUSE_MS = {"paragraph": 250, "sentence": 200, "clause": 90, "word": 30, "end": 0}
PEAK = 0.98


def joined(
    parts: Sequence[Samples], endings: Sequence[str], rate: int
) -> tuple[Samples, list[tuple[int, int]]]:
    """The whole speech, and where each part begins and ends in it (in samples)."""
    import numpy as np

    pieces: list[Samples] = []
    spans: list[tuple[int, int]] = []
    at = 0
    for number, (part, ending) in enumerate(zip(parts, endings, strict=True)):
        pieces.append(part)
        spans.append((at, at + len(part)))
        at += len(part)
        if number < len(parts) - 1:
            pause = np.zeros(rate * PAUSE_MS[ending] // 1000, dtype=np.float32)
            pieces.append(pause)
            at += len(pause)
    return np.concatenate(pieces), spans


def crossfaded(
    parts: Sequence[Samples], overlap: int, curve: str = "hann"
) -> tuple[Samples, list[tuple[int, int]]]:
    """Neighbours laid over each other by `overlap` samples, at most half of the shorter one.

    `hann` adds up to one, for audio that is the same in both; `equal_power` suits unlike audio.
    """
    import numpy as np

    whole, spans = parts[0], [(0, len(parts[0]))]
    for previous, part in pairwise(parts):
        count = min(overlap, len(previous) // 2, len(part) // 2)
        phase = (np.arange(count, dtype=np.float32) + 0.5) / max(count, 1) * (math.pi / 2)
        rising, falling = np.sin(phase), np.cos(phase)
        if curve == "hann":
            rising, falling = rising**2, falling**2
        start = len(whole) - count
        middle = whole[start:] * falling + part[:count] * rising
        whole = np.concatenate([whole[:start], middle.astype(np.float32), part[count:]])
        spans.append((start, len(whole)))
    return whole, spans


def trimmed(samples: Samples, rate: int) -> Samples:
    """Without the near-silence at both ends, but for a margin; empty when nothing is heard."""
    import numpy as np

    levels = _levels(samples, rate)
    loud = np.flatnonzero(levels > levels.max(initial=0.0) * 10 ** (SILENCE_DB / 20))
    if not len(loud):
        return samples[:0]
    frame, margin = _frame(rate), rate * MARGIN_MS // 1000
    first = max(0, int(loud[0]) * frame - margin)
    return samples[first : (int(loud[-1]) + 1) * frame + margin]


def faded(samples: Samples, rate: int) -> Samples:
    """With both ends eased from and to nothing, so that no cut is heard as a click."""
    import numpy as np

    count = min(rate * FADE_MS // 1000, len(samples) // 2)
    if not count:
        return samples
    slope = 0.5 - 0.5 * np.cos(np.pi * (np.arange(count, dtype=np.float32) / count))
    eased = samples.astype(np.float32, copy=True)
    eased[:count] *= slope
    eased[-count:] *= slope[::-1]
    return eased


def level_matched(parts: Sequence[Samples], rate: int) -> list[Samples]:
    """All at the same loudness: the median of theirs, or what the peaks of each allow."""
    import numpy as np

    if len(parts) < 2:
        return list(parts)
    levels = [loudness(part, rate) for part in parts]
    heard = [level for level in levels if level > 0]
    headroom = [
        level * PEAK / float(np.abs(part).max())
        for part, level in zip(parts, levels, strict=True)
        if level > 0
    ]
    if not heard:
        return list(parts)
    target = min(float(np.median(heard)), *headroom)
    return [
        (part * (target / level)).astype(np.float32) if level > 0 else part
        for part, level in zip(parts, levels, strict=True)
    ]


def loudness(samples: Samples, rate: int) -> float:
    """RMS over the frames in which something is heard: pauses inside do not count."""
    import numpy as np

    levels = _levels(samples, rate)
    heard = levels[levels > levels.max(initial=0.0) * 10 ** (SILENCE_DB / 20)]
    return float(np.sqrt(np.mean(np.square(heard)))) if len(heard) else 0.0


def _levels(samples: Samples, rate: int) -> Samples:
    """RMS of each frame; the last one is filled up with silence."""
    import numpy as np

    frame = _frame(rate)
    padded = np.pad(samples, (0, -len(samples) % frame)).astype(np.float64)
    levels: Samples = np.sqrt(np.mean(np.square(padded.reshape(-1, frame)), axis=1))
    return levels


def _frame(rate: int) -> int:
    return max(1, rate * FRAME_MS // 1000)
