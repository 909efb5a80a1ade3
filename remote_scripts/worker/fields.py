"""Typed reads from a JSON object whose failures name the field, the value and the range."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from worker.report import Failure


def bad_input(message: str, remedy: str) -> Failure:
    """The failure of a request that cannot be run as it stands."""
    return Failure("bad_input", message, remedy)


class Fields:
    """A JSON object being read. `where` is how messages call it."""

    def __init__(self, document: object, where: str) -> None:
        if not isinstance(document, dict):
            raise bad_input(f"{where} is not an object", "send a JSON object")
        self._document: dict[str, Any] = document
        self._prefix = "" if where == "the input" else f"{where}."

    def text(self, key: str, *, limit: int) -> str:
        """A text that must be there."""
        value = self.optional_text(key, limit=limit)
        if value is None:
            raise bad_input(f"{self._prefix}{key} is missing", "add it to the job's input")
        return value

    def optional_text(self, key: str, *, limit: int) -> str | None:
        """A text of at most `limit` characters, or None."""
        value = self._document.get(key)
        if value is None:
            return None
        if not isinstance(value, str):
            raise self._wrong(key, "a text")
        if len(value) > limit:
            raise bad_input(
                f"{self._prefix}{key} has {len(value)} characters",
                f"at most {limit} are taken",
            )
        return value

    def integer(self, key: str, default: int, low: int, high: int) -> int:
        """A whole number from `low` to `high`; `default` when absent or null."""
        value = self.optional_integer(key, low, high)
        return default if value is None else value

    def optional_integer(self, key: str, low: int, high: int) -> int | None:
        """A whole number from `low` to `high`, or None."""
        value = self._document.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self._wrong(key, f"a whole number from {low} to {high}")
        return value

    def number(self, key: str, default: float, low: float, high: float) -> float:
        """A finite number from `low` to `high`; `default` when absent or null."""
        value = self._document.get(key)
        if value is None:
            return default
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value) or not low <= value <= high:
            raise self._wrong(key, f"a number from {low:g} to {high:g}")
        return float(value)

    def value(self, key: str) -> object:
        """Whatever stands there; None when absent."""
        return self._document.get(key)

    def flag(self, key: str, *, default: bool = False) -> bool:
        """True or false; `default` when absent or null."""
        value = self._document.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self._wrong(key, "true or false")
        return value

    def choice(self, key: str, allowed: Sequence[str], default: str) -> str:
        """One of `allowed`; `default` when absent or null."""
        value = self._document.get(key)
        if value is None:
            return default
        if value not in allowed:
            raise self._wrong(key, "one of " + ", ".join(allowed))
        return str(value)

    def table(self, key: str) -> Fields:
        """A nested object that must be there."""
        if self._document.get(key) is None:
            raise bad_input(f"{self._prefix}{key} is missing", "add it to the job's input")
        return Fields(self._document[key], f"{self._prefix}{key}")

    def tables(self, key: str, limit: int) -> list[Fields]:
        """A list of at most `limit` nested objects; empty when absent or null."""
        rows = self._document.get(key)
        if rows is None:
            return []
        if not isinstance(rows, list) or len(rows) > limit:
            raise self._wrong(key, f"a list of at most {limit} objects")
        return [Fields(row, f"{self._prefix}{key}[{index}]") for index, row in enumerate(rows)]

    def _wrong(self, key: str, wanted: str) -> Failure:
        shown = repr(self._document.get(key))[:80]
        return bad_input(f"{self._prefix}{key} is {shown}", f"it has to be {wanted}")
