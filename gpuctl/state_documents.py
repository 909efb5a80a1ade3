"""The part of the state file that keeps plain documents: endpoints, pushed images, voices, …"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, TypeVar

from gpuctl import state_records as records
from gpuctl.models import Json

if TYPE_CHECKING:
    import sqlite3

T = TypeVar("T")


class Documents:
    """Mixed into State, which owns the file. A document is looked up by its kind and key."""

    _now: Callable[[], float]

    def keep(self, kind: str, key: str, record: Json) -> None:
        """Stores the document, replacing the one of that key."""
        self._write(
            "INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?)",
            (kind, key, self._now(), records.dump(record)),
        )

    def kept(self, kind: str, key: str) -> Json | None:
        found = self._read(
            "SELECT record FROM documents WHERE kind = ? AND key = ?", (kind, key), records.load
        )
        return found[0] if found else None

    def all_kept(self, kind: str) -> list[Json]:
        """Every document of the kind, the one kept last first."""
        return self._read(
            "SELECT record FROM documents WHERE kind = ? ORDER BY kept_at DESC, rowid DESC",
            (kind,),
            records.load,
        )

    def drop(self, kind: str, key: str) -> bool:
        """False when there was none."""
        with self._transaction() as connection:
            gone = connection.execute(
                "DELETE FROM documents WHERE kind = ? AND key = ?", (kind, key)
            )
            return gone.rowcount > 0

    if TYPE_CHECKING:

        def _read(
            self, sql: str, values: Sequence[object], decode: Callable[[str], T]
        ) -> list[T]: ...
        def _write(self, sql: str, values: Sequence[object]) -> None: ...
        def _transaction(self) -> AbstractContextManager[sqlite3.Connection]: ...
