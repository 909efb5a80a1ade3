"""Cuts a text where a speaker would pause; never inside a number, an abbreviation or markup.

Stands alone: gpuctl loads this very file to show the chunks before anything is started.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple

LIMIT = 300
LOWEST_LIMIT, HIGHEST_LIMIT = 50, 1000
# One segment of the model; about 60–90 English words or 100 hanzi (workloads.md §1.8).
TOKENS = 120

_FORBIDDEN, _ANYWHERE, _WORD, _CLAUSE, _SENTENCE, _PARAGRAPH = -1, 0, 1, 2, 3, 4
_ENDINGS = {_CLAUSE: "clause", _SENTENCE: "sentence", _PARAGRAPH: "paragraph"}

_CLOSING = "\"'”’»)\\]）」』》】"
_WIDE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7af"
_PARTS = {
    "markup": r"<[^<>|\n]+\|[^<>\n]+>",
    "address": r"https?://\S+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+",
    # What follows belongs to it: no pause after “Dr.” or between initials.
    "bound": (
        r"\b(?:Mr|Mrs|Ms|Mx|Dr|Dra|Drs|Prof|Sra|Srta|Sr|St|Mt|Nos?|vs|Fig|Figs|Eq|Sec|Ch|Vol|pp|Gen"
        r"|Col|Capt|Cmdr|Lt|Sgt|Rev|Hon|Gov|Sen|Rep|Pres|approx|ca|cf|viz|Art)\.\s*"
        r"|\b(?:e\.\s?g|i\.\s?e)\.,?\s*"
        r"|\b[A-Z]\.\s+(?=[A-Z])"
    ),
    "short": (
        r"\b(?:[A-Za-z]\.){2,}|\bPh\.D\."
        r"|\b(?:etc|Inc|Ltd|Co|Corp|Jr|Bros|al|dept|est|min|max|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?"
        r"|Oct|Nov|Dec|Mon|Tue|Wed|Thu|Fri|Sat|Sun|Ave|Blvd|Rd)\."
    ),
    "number": (
        r"(?:[$€£¥₹№#§]\s?|[+\-−±])?\d+(?:[.,:/\-–'’\u00a0\u202f ]\d+)*"
        r"(?:\s?(?:%|‰|°\s?[CF]?|(?:k?m|[kmc]?m|[kmµ]?g|[KMGT]i?B|[kMG]?Hz|ms|[ap]\.?m\.?)(?!\w)))?"
    ),
    "numeral": r"[〇零一二三四五六七八九十百千万亿两]{2,}",
}
_ATOM = re.compile("|".join(f"(?P<{name}>{part})" for name, part in _PARTS.items()))
_BREAKS = (
    (_CLAUSE, re.compile(rf"(?:[,;:—،؛][{_CLOSING}]*\s+|—|[，、：][{_CLOSING}]*\s*)")),
    (_SENTENCE, re.compile(rf"(?:[.!?…؟]+[{_CLOSING}]*\s+|[。！？；｡]+[{_CLOSING}]*\s*)")),
    (_PARAGRAPH, re.compile(r"\s*\n\s*\n\s*")),
)
_IS_WIDE = re.compile(f"[{_WIDE}]")
_JOINERS = "\u200d\ufe0e\ufe0f"


class Chunk(NamedTuple):
    """A slice of the text, and what ends it: paragraph, sentence, clause, word or end."""

    text: str
    ending: str


class Unsplittable(ValueError):
    """Markup is longer than a chunk may be."""


def chunks(text: str, limit: int = LIMIT, tokens: int = TOKENS) -> list[Chunk]:
    """Consecutive slices of `text`, none longer than `limit` characters; joined they are the text.

    None is estimated to have more than `tokens` model tokens, unless a single atom has. Raises
    Unsplittable when markup alone exceeds `limit`.
    """
    weights = [0.0, *accumulate(map(_weight, text))]
    ranks, start, found = _ranks(text), 0, []
    while start < len(text):
        by_tokens = max(start + 1, bisect_right(weights, weights[start] + tokens) - 1)
        by_length = min(start + limit, len(text))
        end = min(by_tokens, by_length)
        if end < len(text):
            end = _cut(ranks, start, end) or _cut(ranks, start, by_length) or 0
            end = end or _forced(text, start, by_length)
        ending = "end" if end == len(text) else _ENDINGS.get(ranks[end], "word")
        found.append(Chunk(text[start:end], ending))
        start = end
    return found


def is_speakable(text: str) -> bool:
    """Whether anything can be heard of it: the model fails on marks alone (workloads.md §1.5)."""
    return any(map(str.isalnum, text))


def tokens_about(text: str) -> int:
    """Model tokens, estimated on the safe side: the tokenizer is on the machine only."""
    return round(sum(map(_weight, text)) + 0.5)


def _weight(character: str) -> float:
    if character.isspace():
        return 0.1
    if _IS_WIDE.match(character):
        return 1.2
    if character.isdigit():  # read out as words
        return 1.5
    return 0.34 if character.isalpha() else 1.0


def _ranks(text: str) -> list[int]:
    """For each position how good a cut there is; _FORBIDDEN inside what belongs together."""
    ranks = [_FORBIDDEN, *map(_between, text, text[1:]), _FORBIDDEN]
    for rank, pattern in _BREAKS:
        for found in pattern.finditer(text):
            if rank != _SENTENCE or _ends_sentence(text, found):
                for position in _behind(found):
                    ranks[position] = max(ranks[position], rank)
    for atom in _ATOM.finditer(text):
        last = atom.end() + (atom.lastgroup == "bound")
        for position in range(atom.start() + 1, min(last, len(text))):
            ranks[position] = _FORBIDDEN
    return ranks


def _between(before: str, after: str) -> int:
    if before == "\u200d" or after in _JOINERS or unicodedata.combining(after):
        return _FORBIDDEN
    if before.isspace():
        return _WORD
    is_wide = _IS_WIDE.match(before) or _IS_WIDE.match(after)
    return _WORD if is_wide and after.isalnum() else _ANYWHERE


def _behind(found: re.Match[str]) -> Iterator[int]:
    """Positions after the marks, through the white space that follows them."""
    marks = len(found.group().rstrip()) if found.group().strip() else 1
    return iter(range(found.start() + marks, found.end() + 1))


def _ends_sentence(text: str, found: re.Match[str]) -> bool:
    """Not before a small letter: it was an abbreviation we do not know, or “Oh!” inside one."""
    return not text[found.end() : found.end() + 1].islower()


def _cut(ranks: list[int], start: int, end: int) -> int | None:
    """The best position in (start, end], the last of its kind; None when all are forbidden."""
    last = {ranks[position]: position for position in range(start + 1, end + 1)}
    sentence = max(last.get(_SENTENCE, 0), last.get(_PARAGRAPH, 0))
    clause, word = last.get(_CLAUSE, 0), last.get(_WORD, 0)
    if not sentence and clause - start < (end - start) / 4 and word:
        # “However,” alone is no chunk.
        return word
    return sentence or clause or word or last.get(_ANYWHERE)


def _forced(text: str, start: int, end: int) -> int:
    atom = _ATOM.match(text, start)
    if atom is not None and atom.lastgroup == "markup":
        raise Unsplittable(f"{atom.group()[:40]}… has {len(atom.group())} characters")
    space = max((at for at in range(start + 1, end) if text[at - 1].isspace()), default=0)
    return space or end
