"""Where a prompt comes from, and how much of it each text encoder will read. Pure but for files."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from gpuctl.errors import NotFound, UsageError
from gpuctl.services import clip_tokens
from gpuctl.workloads.flux_models import Tables

if TYPE_CHECKING:
    from gpuctl.config import Settings


@dataclass(frozen=True, slots=True)
class Meter:
    """What the encoders see of a prompt.

    `clip_*` are None where the pipeline has no CLIP. `clip_tokens` counts `clip_prompt`, the text
    for CLIP alone, both markers included; `clip_dropped` holds the words it will not see, worth
    `clip_over` tokens. `text_tokens_estimate` is an estimate (see `estimate_text_tokens`): the
    worker has the real tokenizer and gives the exact figure.
    """

    clip_prompt: str | None
    clip_tokens: int | None
    clip_limit: int | None
    clip_over: int
    clip_dropped: str
    text_tokens_estimate: int
    text_limit: int

    @property
    def text_over(self) -> bool:
        """The text encoder will probably not see the end either."""
        return self.text_tokens_estimate > self.text_limit

    def line(self) -> str:
        text = f"≈{self.text_tokens_estimate}/{self.text_limit}"
        if self.clip_limit is None:
            return f"text {text}"
        over = f" (−{self.clip_over})" if self.clip_over else ""
        return f"CLIP {self.clip_tokens}/{self.clip_limit}{over} · T5 {text}"


@dataclass(frozen=True, slots=True)
class Limits:
    """How many tokens the encoders of `model` read; `clip` is None where it has no CLIP."""

    model: str
    clip: int | None
    text: int


def limits_of(settings: Settings, model: str | None = None) -> Limits:
    """Of a row of the table `models`; None: the default model. Raises UsageError, ConfigError."""
    tables = Tables(
        **{name: settings.table(name) for name in ("models", "presets", "sizes", "guidances")}
    )
    found = tables.model(model or settings.text("flux.default_model"))
    return Limits(found.name, found.clip_tokens, found.text_tokens)


def meter(text: str, *, clip_limit: int | None, text_limit: int) -> Meter:
    """Measures `text`; only CLIP's copy is ever shortened (workloads.md §5.2)."""
    estimate = estimate_text_tokens(text)
    if clip_limit is None:
        return Meter(None, None, None, 0, "", estimate, text_limit)
    kept = clip_tokens.trim(text, clip_limit)
    over = clip_tokens.count(text) - kept.tokens if kept.dropped else 0
    return Meter(kept.text, kept.tokens, clip_limit, over, kept.dropped, estimate, text_limit)


def estimate_text_tokens(text: str) -> int:
    """About how many tokens T5 makes of `text`, its end marker included.

    1.3 per word, the middle of the 1.25–1.35 seen for English (workloads.md §6.2), and no fewer
    than one per five characters, for what is not made of words. Its vocabulary ships with the
    model, so nothing exact can be said here.
    """
    compact = text.split()
    characters = sum(map(len, compact)) + len(compact)
    return 1 + math.ceil(max(1.3 * len(compact), characters / 5))


def read_prompt(prompt: str | None, file: Path | None, stdin: TextIO) -> str:
    """The prompt as given, from `stdin` when it is `-`, or from `file`; without outer blanks.

    Raises UsageError when there is none or two, NotFound when the file cannot be read.
    """
    if (prompt is None) == (file is None):
        raise UsageError("give a prompt, or --prompt-file FILE", hint='"…", or - to read stdin')
    if file is not None:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise NotFound(f"the prompt file {file} cannot be read: {error}") from None
    else:
        text = stdin.read() if prompt == "-" else str(prompt)
    if not text.strip():
        raise UsageError("the prompt is empty")
    return text.strip()
