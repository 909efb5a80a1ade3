"""How many tokens each encoder really gets, counted with the pipeline's own tokenizers."""

from __future__ import annotations

from typing import Any

from flux.request import Request
from worker import report


def count(pipe: Any, request: Request) -> dict[str, int]:
    """`clip_tokens` (when there is a CLIP encoder) and `text_tokens`, special tokens included.

    A text longer than its encoder reads is said aloud.
    """
    first, second = getattr(pipe, "tokenizer", None), getattr(pipe, "tokenizer_2", None)
    counts: dict[str, int] = {}
    if second is not None:
        counts["clip_tokens"] = _length(first, request.clip_prompt or request.prompt)
    reader = second if second is not None else first
    if reader is not None:
        counts["text_tokens"] = _length(reader, request.prompt)
    _warn("CLIP", counts.get("clip_tokens", 0), request.model.clip_tokens)
    _warn("the text encoder", counts.get("text_tokens", 0), request.model.text_tokens)
    return counts


def _length(tokenizer: Any, text: str) -> int:
    return len(tokenizer(text, truncation=False, verbose=False).input_ids)


def _warn(reader: str, found: int, limit: int | None) -> None:
    if limit is not None and found > limit:
        report.log(f"{reader} reads {limit} of the {found} tokens; the rest is cut off", "warning")
