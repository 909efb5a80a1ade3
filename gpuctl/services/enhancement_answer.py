"""Judges what Claude answered: takes off the wrapping, and says when it is no prompt. Pure."""

from __future__ import annotations

import re

# As much as T5 reads: 512 tokens at 1.3 per word (workloads.md §5.2, §6.2).
MAX_WORDS = 390

_FENCE = re.compile(r"```[\w-]*\n?(.*?)\n?```", re.DOTALL)
_PREAMBLE = re.compile(
    r"\A\W*(?:(?:sure|certainly|of course|okay|ok|absolutely)\b[^:\n]{0,20}[,.!:—-]\s*)?"
    r"(?:here(?:'s|’s| is)\b[^:\n]{0,80}:"
    r"|(?:(?:enhanced|rewritten|improved|revised|final|flux|image)\s+)+prompt\W{0,3}:"
    r"|prompt\W{0,3}:)\W*?(?=[\w\"“'‘«(\[])",
    re.IGNORECASE,
)
_QUOTES = {'"': '"', "“": "”", "'": "'", "‘": "’", "«": "»", "`": "`", "**": "**", "*": "*"}


def cleaned(answer: str) -> str:
    """The prompt inside the answer: no code fence, no preamble, no quotes around it, one line."""
    text = answer.strip()
    if fenced := _FENCE.search(text):
        text = fenced[1]
    text = _PREAMBLE.sub("", text)
    text = " ".join(text.split())
    while (bare := _unquoted(text)) != text:
        text = bare
    return text


def objection(text: str, stop_reason: str | None, prompt: str) -> str | None:
    """Why `text` should not be painted, None when it is fine."""
    if stop_reason == "refusal":
        return "Claude declined to rewrite this prompt"
    if stop_reason not in ("end_turn", "stop_sequence"):
        return f"Claude's answer was cut off ({stop_reason or 'the connection ended'})"
    if not any(map(str.isalnum, text)):
        return "Claude's answer was empty"
    words = len(text.split())
    if words > max(MAX_WORDS, len(prompt.split())) or len(text) > max(10 * MAX_WORDS, len(prompt)):
        return f"Claude's answer was too long for a prompt ({words} words)"
    return None


def _unquoted(text: str) -> str:
    for opening, closing in _QUOTES.items():
        inside = text[len(opening) : -len(closing)]
        if (
            len(text) > len(opening) + len(closing)
            and text.startswith(opening)
            and text.endswith(closing)
            # Two quoted things, one at each end, are part of the prompt.
            and opening not in inside
            and closing not in inside
        ):
            return inside.strip()
    return text
