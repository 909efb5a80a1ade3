"""Names that sort by time and never meet: ULIDs (github.com/ulid/spec)."""

from __future__ import annotations

import os
import time

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LETTERS = 26
_RANDOM_BYTES = 10


def new_ulid() -> str:
    """26 letters: 48 bits of milliseconds, 80 random bits, in Crockford's base 32.

    Our own lines, because the import of a library for it takes longer than a picture's receipt.
    """
    milliseconds = time.time_ns() // 1_000_000
    number = milliseconds << 80 | int.from_bytes(os.urandom(_RANDOM_BYTES), "big")
    return "".join(_ALPHABET[number >> 5 * place & 31] for place in reversed(range(_LETTERS)))
