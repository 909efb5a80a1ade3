"""Which emotion the model is given, and how much of it (workloads.md §1.2)."""

from __future__ import annotations

from collections.abc import Sequence

NAMES = ("happy", "angry", "sad", "afraid", "disgusted", "melancholic", "surprised", "calm")
# The official interface tames what sounds strange when it is strong; `infer` itself does not.
BIAS = (0.9375, 0.875, 1.0, 1.0, 0.9375, 0.9375, 0.6875, 0.5625)
LIMIT = 0.8


def tamed(vector: Sequence[float]) -> tuple[tuple[float, ...], bool]:
    """The vector as the model should get it, and whether it had to be scaled to add up to 0.8."""
    biased = [value * bias for value, bias in zip(vector, BIAS, strict=True)]
    total = sum(biased)
    if total <= LIMIT:
        return tuple(biased), False
    return tuple(value * LIMIT / total for value in biased), True


def overruled(*, has_text: bool, has_vector: bool, has_audio: bool) -> list[str]:
    """Fields that have no effect, since text goes before vector and vector before audio."""
    given = [
        name
        for name, is_given in (
            ("emo_text", has_text),
            ("emo_vector", has_vector),
            ("emo_audio_prompt", has_audio),
        )
        if is_given
    ]
    return given[1:]
