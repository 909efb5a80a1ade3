"""Speech whose every sound is known: so that what is left of it after joining can be measured.

Silence of a random length, then for each word a tone and a soft hiss 35 dB below it, as an s or f
at a word's end is; silence again; the whole at a random loudness, as separate generations are.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np

RATE = 22050
WORD_S, HISS_S, GAP_S = 0.12, 0.06, 0.05
HISS_DB = -35.0
# Every utterance as it was made: (text, samples, first and last sample of its sound).
made: list[dict[str, Any]] = []
built: list[dict[str, Any]] = []
called: list[dict[str, Any]] = []


def speak(text: str, slower: float = 1.0) -> tuple[int, np.ndarray[Any, Any]]:
    level = 10 ** (random.Random(text).uniform(-26, -12) / 20)
    words = [_word(level, slower) for _ in text.split()]
    gap = np.zeros(round(GAP_S * slower * RATE))
    sound = np.concatenate([part for word in words for part in (word, gap)][:-1])
    before = np.zeros(round(np.random.uniform(0.05, 0.6) * RATE))
    after = np.zeros(round(np.random.uniform(0.05, 0.6) * RATE))
    whole = np.concatenate([before, sound, after])
    # The model is never wholly silent.
    whole += np.random.normal(0, 10 ** (-80 / 20), len(whole))
    made.append({"text": text, "sound_s": len(sound) / RATE, "level": level})
    return RATE, (np.clip(whole, -1, 1) * 32767).astype(np.int16).reshape(-1, 1)


def _word(level: float, slower: float) -> np.ndarray[Any, Any]:
    moments = np.arange(round(WORD_S * slower * RATE)) / RATE
    hertz = np.random.uniform(110, 180)
    tone = level * sum(np.sin(2 * np.pi * hertz * k * moments) / k for k in range(1, 6)) / 1.5
    ease = np.minimum(1, np.minimum(moments, moments[::-1]) / 0.01)
    hiss = np.random.normal(0, level * 10 ** (HISS_DB / 20), round(HISS_S * slower * RATE))
    return np.concatenate([tone * ease, hiss])
