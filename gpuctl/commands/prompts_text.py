"""How meters and differences of prompts read in a terminal. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gpuctl.services.prompts import Meter

_COLOURS = {"-": "red", "+": "green"}


def difference(steps: Sequence[tuple[str, str]], style: Callable[[str, str], str]) -> str:
    """A word diff in one paragraph: [-removed-] and {+added+}, coloured where there is colour."""
    marks = {"-": "[-{}-]", "+": "{{+{}+}}"}
    return " ".join(
        style(marks[op].format(words), _COLOURS[op]) if op in marks else words
        for op, words in steps
    )


def meter_lines(meter: Meter) -> list[str]:
    lines = [meter.line()]
    if meter.clip_dropped:
        lines.append(f"CLIP will not see: {meter.clip_dropped}")
    if meter.text_over:
        lines.append(f"the text encoder reads about {meter.text_limit} tokens; the end may be lost")
    return lines


def comparison(ours: int, reference: int, agrees: bool) -> str:
    verdict = "every id agrees" if agrees else "THEY DIFFER"
    return f"whole text for CLIP: {ours} tokens here, {reference} by transformers: {verdict}"
