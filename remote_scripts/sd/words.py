"""Failures in words, and the nearest of the names that are there."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from worker.report import Failure

_SHOWN = 12


def bad_input(message: str, remedy: str) -> Failure:
    """The failure of a request that cannot be run as it stands."""
    return Failure("bad_input", message, remedy)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` was probably meant to be; capitals do not count."""
    by_folded = {item.casefold(): item for item in known}
    found = get_close_matches(name.casefold(), list(by_folded), n=1, cutoff=0.5)
    if found:
        return by_folded[found[0]]
    inside = [item for folded, item in by_folded.items() if name.casefold() in folded]
    return inside[0] if name and inside else None


def meant(name: str, known: Iterable[str]) -> str:
    """`did you mean X? known: …`, as the remedy of an unknown name."""
    names = list(known)
    near = nearest(name, names)
    shown = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
    first = f"did you mean {near}? " if near else ""
    return f"{first}known: {shown}" if names else f"{first}there are none here"
