"""Makes the bundled CLIP table from its source."""

from __future__ import annotations

import gzip
import hashlib
import sys
from array import array

from gpuctl.services import clip_tokens

# open_clip/bpe_simple_vocab_16e6.txt.gz in the open_clip_torch 3.3.0 wheel (workloads.md §6.2).
SOURCE_SHA256 = "924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a"


def pack(source: bytes) -> bytes:
    """The bytes of gpuctl/data/clip_merges.bin, from OpenAI's gzipped list of merges."""
    assert hashlib.sha256(source).hexdigest() == SOURCE_SHA256
    lines = gzip.decompress(source).decode().split("\n")[1:48895]
    names = [clip_tokens._spelling(byte) for byte in clip_tokens._bytes_by_id()]
    names += [name + "</w>" for name in names]
    numbers = {name: number for number, name in enumerate(names)}
    rows = []
    for made, line in enumerate(lines, start=len(names)):
        left, right = line.split(" ")
        rows.append((numbers[left] << 16 | numbers[right], made))
        numbers[left + right] = made
    assert len(numbers) == clip_tokens.START
    rows.sort()
    pairs, merged = array("I", [row[0] for row in rows]), array("H", [row[1] for row in rows])
    if sys.byteorder == "big":
        pairs.byteswap()
        merged.byteswap()
    return pairs.tobytes() + merged.tobytes()
