"""What is heard after joining: every sound whole, no click, no step in loudness. All measured."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from tests.remote_scripts.tts.conftest import RATE, voice_like
from tts import joining

Samples = np.ndarray[Any, Any]
SILENCE = np.zeros(RATE // 4, dtype=np.float32)


def hiss(seconds: float, level: float) -> Samples:
    return np.random.default_rng(3).normal(0, level, round(seconds * RATE)).astype(np.float32)


def decibels(ratio: float) -> float:
    return float(20 * np.log10(ratio))


def chunk(level: float = 0.3) -> Samples:
    """Speech that ends in a hiss 40 dB below it, as a last “f” is, between two silences."""
    return np.concatenate(
        [SILENCE, voice_like(0.8, level), hiss(0.09, level * 10 ** (-40 / 20)), SILENCE]
    )


def test_a_quiet_last_consonant_survives_the_trimming_and_the_fade() -> None:
    spoken = joining.faded(joining.trimmed(chunk(), RATE), RATE)
    # 0.89 s of sound, and a margin of 15 ms on either side.
    assert len(spoken) / RATE == pytest.approx(0.89 + 0.03, abs=0.012)
    tail = spoken[-round(0.105 * RATE) : -round(0.015 * RATE)]
    energy = float(np.sqrt(np.mean(np.square(tail))))
    assert energy == pytest.approx(0.3 * 10 ** (-40 / 20), rel=0.1)


def test_a_soft_beginning_is_not_cut_either() -> None:
    soft = voice_like(0.5) * np.linspace(0.01, 1, round(0.5 * RATE), dtype=np.float32)
    spoken = joining.trimmed(np.concatenate([SILENCE, soft, SILENCE]), RATE)
    assert len(spoken) / RATE >= 0.5


def test_trimming_what_is_silent_leaves_nothing() -> None:
    assert len(joining.trimmed(SILENCE, RATE)) == 0
    assert len(joining.trimmed(SILENCE[:0], RATE)) == 0


def test_fades_begin_and_end_in_nothing_without_a_click() -> None:
    spoken = joining.faded(np.full(RATE, 0.5, dtype=np.float32), RATE)
    assert abs(spoken[0]) < 1e-6
    assert abs(spoken[-1]) < 1e-6
    # 0.5 over 8 ms in a cosine: no two samples differ by more than its steepest step.
    steepest = 0.5 * np.pi / 2 / (RATE * joining.FADE_MS / 1000)
    assert float(np.abs(np.diff(spoken)).max()) <= steepest * 1.01


def test_all_chunks_have_the_same_loudness_and_none_clips() -> None:
    parts = [joining.trimmed(chunk(level), RATE) for level in (0.05, 0.2, 0.8, 0.4)]
    matched = joining.level_matched(parts, RATE)
    levels = [joining.loudness(part, RATE) for part in matched]
    assert max(abs(decibels(a / b)) for a in levels for b in levels) < 1.0
    assert max(float(np.abs(part).max()) for part in matched) <= joining.PEAK + 1e-6


def test_a_chunk_with_a_long_pause_in_it_is_not_taken_for_a_quiet_one() -> None:
    dense = voice_like(1.0)
    sparse = np.concatenate([voice_like(0.5), np.zeros(RATE, dtype=np.float32), voice_like(0.5)])
    assert joining.loudness(sparse, RATE) == pytest.approx(joining.loudness(dense, RATE), rel=0.1)


@pytest.mark.parametrize(
    ("ending", "least_ms", "most_ms"), [("sentence", 150, 250), ("clause", 60, 120)]
)
def test_pauses_are_those_of_the_punctuation(ending: str, least_ms: int, most_ms: int) -> None:
    parts = [joining.faded(joining.trimmed(chunk(), RATE), RATE) for _ in range(2)]
    whole, spans = joining.joined(parts, [ending, "end"], RATE)
    pause_ms = (spans[1][0] - spans[0][1]) / RATE * 1000
    assert least_ms <= pause_ms <= most_ms
    assert spans[-1][1] == len(whole)
    for part, (start, end) in zip(parts, spans, strict=True):
        assert np.array_equal(whole[start:end], part)


def test_a_join_has_no_larger_jump_than_the_speech_itself() -> None:
    parts = [joining.faded(joining.trimmed(chunk(), RATE), RATE) for _ in range(4)]
    whole, _ = joining.joined(parts, ["sentence", "clause", "word", "end"], RATE)
    usual = max(float(np.abs(np.diff(part)).max()) for part in parts)
    assert float(np.abs(np.diff(whole)).max()) <= usual


def test_a_hann_crossfade_of_audio_that_overlaps_gives_back_the_audio() -> None:
    """The one case for which it is right."""
    source = voice_like(2.0)
    overlap = RATE // 10
    parts = [source[: RATE + overlap], source[RATE:]]
    whole, spans = joining.crossfaded(parts, overlap, "hann")
    assert np.allclose(whole, source, atol=1e-6)
    assert spans == [(0, RATE + overlap), (RATE, len(source))]


def test_an_equal_power_crossfade_keeps_the_power_of_unlike_audio() -> None:
    left, right = hiss(2.0, 0.1), hiss(4.0, 0.1)[-2 * RATE :][::-1].copy()
    whole, _ = joining.crossfaded([left, right], RATE, "equal_power")
    middle = whole[len(left) - RATE : len(left)]
    rms = [float(np.sqrt(np.mean(np.square(part)))) for part in (left, middle)]
    assert abs(decibels(rms[0] / rms[1])) < 0.5


def test_a_crossfade_longer_than_the_chunks_never_eats_one_whole() -> None:
    short = voice_like(0.05)
    whole, spans = joining.crossfaded([short, short, short], RATE, "hann")
    assert len(whole) == len(short) * 2
    assert all(start < end for start, end in spans)
    assert all(a[0] < b[0] for a, b in pairwise(spans))
