"""Counts and trims text as the CLIP text encoder reads it, offline, with the bundled vocabulary."""

from __future__ import annotations

import os
import re
import sys
from array import array
from bisect import bisect_left, bisect_right
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenizers import Tokenizer

LIMIT = 77
START, END = 49406, 49407
MARKERS = ("<|startoftext|>", "<|endoftext|>")

# gpuctl/data/clip_merges.bin, described in gpuctl/data/NOTICE. Not through `resources`: pathlib
# costs as much as the whole count.
_TABLE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "data", "clip_merges.bin")  # noqa: PTH118, PTH120
_MERGES = 48_894
_WORD_END = 256  # id of a byte that ends a word = id of the byte + 256
_FIRST_MERGED = 512
# Finding pairs takes quadratic time; nobody writes such words, but hostile input holds them.
_LONGEST_WORD = 200

_ASCII_PIECES = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[a-z]+|[0-9]|[^\sa-z0-9]+", re.ASCII)
_UNICODE_PIECES = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)


class Trimmed(NamedTuple):
    """`text` is an exact prefix of the user's text, `dropped` the words behind it.

    `tokens` counts `text`, both markers included.
    """

    text: str
    tokens: int
    dropped: str


def count(text: str) -> int:
    """How many ids CLIP makes of `text`, the start and end markers included."""
    return len(encode(text))


def encode(text: str) -> list[int]:
    """The ids of the whole text, never cut off; equal to transformers' CLIPTokenizer.

    Plain ASCII is read by the few lines below, anything else by `tokenizers`
    (facts: workloads.md §6.2, performance.md §2).
    """
    # "<|" may begin a literal marker, which is one token.
    if text.isascii() and "<|" not in text:
        pieces = _ASCII_PIECES.findall(text.lower())
        if not pieces or len(max(pieces, key=len)) <= _LONGEST_WORD:
            ids = [START]
            for piece in pieces:
                ids += _ids_of(piece)
            ids.append(END)
            return ids
    # A command line may carry bytes that are not text (lone surrogates).
    encoded: list[int] = unicode_reader().encode(text.encode(errors="replace").decode()).ids
    return encoded


def trim(text: str, limit: int = LIMIT) -> Trimmed:
    """The longest prefix of whole words that makes at most `limit` ids, and what it leaves out.

    A single word that would not fit alone (or a script without spaces) is cut between letters.
    """
    tokens = count(text)
    if tokens <= limit:
        return Trimmed(text, tokens, "")
    words = [(found.start(), found.end()) for found in re.finditer(r"\S+", text)]
    fitting = _longest(text, [end for _, end in words], limit)
    cut = words[fitting - 1][1] if fitting else 0
    start, end = words[fitting] if fitting < len(words) else (cut, cut)
    if count(text[start:end]) > limit:
        letters = range(start + 1, end + 1)
        inside = _longest(text, letters, limit)
        cut = letters[inside - 1] if inside else cut
    return Trimmed(text[:cut], count(text[:cut]), text[cut:].strip())


def symbols() -> list[str]:
    """The 49,406 ordinary tokens by id, spelled as in vocab.json."""
    spelled = [_spelling(byte) for byte in _bytes_by_id()]
    spelled += [letter + "</w>" for letter in spelled]
    for left, right in merges():
        spelled.append(spelled[left] + spelled[right])
    return spelled


def merges() -> list[tuple[int, int]]:
    """The pairs of ids in the order in which they are merged; pair n makes the id 512 + n."""
    pairs, merged = _table()
    ordered = sorted(zip(merged, pairs, strict=True))
    return [(pair >> 16, pair & 0xFFFF) for _, pair in ordered]


def _longest(text: str, ends: Sequence[int], limit: int) -> int:
    """How many of the rising `ends` there are before `text[:end]` makes more than `limit` ids."""
    taken = bisect_right(ends, limit, key=lambda end: count(text[:end]))
    # Cutting inside a word may make more tokens of a shorter text, so the search can land too far.
    while taken and count(text[: ends[taken - 1]]) > limit:
        taken -= 1
    return taken


@cache
def _table() -> tuple[array[int], array[int]]:
    pairs, merged = array("I"), array("H")
    with open(_TABLE, "rb") as file:  # noqa: PTH123  see _TABLE
        pairs.fromfile(file, _MERGES)
        merged.fromfile(file, _MERGES)
    if sys.byteorder == "big":
        pairs.byteswap()
        merged.byteswap()
    return pairs, merged


@cache
def _merged(left: int, right: int) -> int:
    """The id that the pair makes; END, which is above all of them, when it makes none."""
    pairs, merged = _table()
    pair = left << 16 | right
    place = bisect_left(pairs, pair)
    return merged[place] if place < _MERGES and pairs[place] == pair else END


@cache
def _ids_of(piece: str) -> list[int]:
    """Byte-pair merging: earlier merges have smaller ids, so the smallest one is made next."""
    ids = [_id_of_byte(byte) for byte in piece.encode()]
    ids[-1] += _WORD_END
    while len(ids) > 1:
        made = list(map(_merged, ids, ids[1:]))
        best = min(made)
        if best == END:
            break
        ids = _merge_all(ids, made, best)
    return ids


def _merge_all(ids: list[int], made: list[int], best: int) -> list[int]:
    merged: list[int] = []
    place = 0
    while place < len(ids):
        if place < len(made) and made[place] == best:
            merged.append(best)
            place += 2
        else:
            merged.append(ids[place])
            place += 1
    return merged


def _id_of_byte(byte: int) -> int:
    """For ASCII: the printable characters come first, the control characters after Latin-1's."""
    if 33 <= byte <= 126:
        return byte - 33
    return 221 if byte == 127 else 188 + byte


def _bytes_by_id() -> list[int]:
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return shown + [byte for byte in range(256) if byte not in set(shown)]


def _spelling(byte: int) -> str:
    """GPT-2's byte letters: printable bytes stand for themselves, the others are moved up."""
    place = _bytes_by_id().index(byte)
    return chr(byte) if place < 188 else chr(256 + place - 188)


@cache
def unicode_reader() -> Tokenizer:
    """The `tokenizers` model built from the same table; made once (about 0.1 s)."""
    import tokenizers as hf  # noqa: PLC0415  a native library; only for text that is not plain ASCII

    names = symbols()
    reader = hf.Tokenizer(
        hf.models.BPE(
            vocab={name: number for number, name in enumerate([*names, *MARKERS])},
            merges=[(names[left], names[right]) for left, right in merges()],
            end_of_word_suffix="</w>",
            unk_token=MARKERS[1],
        )
    )
    reader.normalizer = hf.normalizers.Sequence(
        [
            hf.normalizers.NFC(),
            hf.normalizers.Replace(hf.Regex(r"\s+"), " "),
            hf.normalizers.Lowercase(),
        ]
    )
    reader.pre_tokenizer = hf.pre_tokenizers.Sequence(
        [
            hf.pre_tokenizers.Split(hf.Regex(_UNICODE_PIECES), "removed", invert=True),
            hf.pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    reader.post_processor = hf.processors.RobertaProcessing(
        sep=(MARKERS[1], END),
        cls_token=(MARKERS[0], START),
        trim_offsets=False,
        add_prefix_space=False,
    )
    reader.add_special_tokens(list(MARKERS))
    return reader
