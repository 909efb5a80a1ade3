"""Counting CLIP tokens (P7)."""

from __future__ import annotations

import random
import sys
import time
from functools import partial
from pathlib import Path

from benchmarks.measure import Row, command, interleave, private_environment

_COLD = 'from gpuctl.services import clip_tokens; clip_tokens.count("a red fox in snow, at dusk")'
_CALLS = 200
_PROMPTS = 1000


def run(folder: Path, rounds: int, _full: bool) -> list[Row]:
    env = private_environment(folder)
    python = sys.executable
    actions = {
        "pass": command([python, "-c", "pass"], env=env),
        "count": command([python, "-c", _COLD], env=env),
    }
    cold = interleave(actions, rounds or 21, warm_up=2)
    return [
        Row("P7", "CLIP count, cold process / python -c pass", cold.ratio("count", "pass"), 2.5,
            note=cold.note()),
        *_warm(rounds or 9),
    ]  # fmt: skip


def _warm(rounds: int) -> list[Row]:
    """Per call in one process, on plain prompts, against Hugging Face's `tokenizers`."""
    from gpuctl.services import clip_tokens

    reader = clip_tokens.unicode_reader()
    prompts = _prompts(_PROMPTS)
    actions = {
        "tokenizers": partial(_time, lambda text: reader.encode(text).ids, prompts[:_CALLS]),
        "gpuctl": partial(_time, clip_tokens.encode, prompts[:_CALLS]),
    }
    found = interleave(actions, rounds)
    note = ", ".join(f"{name} {found.ms(name) / _CALLS * 1000:.0f} µs" for name in actions)
    equal = sum(clip_tokens.encode(text) == reader.encode(text).ids for text in prompts)
    trimmed = [(text, clip_tokens.trim(text)) for text in prompts]
    sound = sum(t.tokens <= clip_tokens.LIMIT and text.startswith(t.text) for text, t in trimmed)
    return [
        Row("P7", "per call / tokenizers", found.ratio("gpuctl", "tokenizers"), 0.5, note=note),
        Row("P7", f"equal ids, of {len(prompts)} prompts", equal, len(prompts), True, ""),
        Row("P7", "trimmed ≤ 77 and an exact prefix", sound, len(prompts), True, ""),
    ]


def _time(encode: object, prompts: list[str]) -> float:
    assert callable(encode)
    began = time.perf_counter()
    for prompt in prompts:
        encode(prompt)
    return time.perf_counter() - began


def _prompts(count: int) -> list[str]:
    """Plain prompts of 8 to 110 words out of words that CLIP knows, the same in every run."""
    from gpuctl.services import clip_tokens

    chance = random.Random(7)
    known = [name[:-4] for name in clip_tokens.symbols() if name.endswith("</w>")]
    words = [name for name in known if name.isascii() and name.isalpha() and len(name) > 2]
    marks = ["", "", "", ",", ".", "'s", " 4k"]
    return [
        " ".join(chance.choice(words) + chance.choice(marks) for _ in range(chance.randint(8, 110)))
        for _ in range(count)
    ]
