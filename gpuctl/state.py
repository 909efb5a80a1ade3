"""What this computer remembers between commands: machines, host keys, jobs and the journal."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from gpuctl import state_records as records
from gpuctl.errors import ConfigError, NotFound, UsageError
from gpuctl.models import JobRecord, Json, Machine, Pin
from gpuctl.state_documents import Documents
from gpuctl.state_records import Intent
from gpuctl.state_schema import ADDED, SCHEMA_VERSION

BUSY_TIMEOUT_S = 10.0

__all__ = ["Intent", "State"]

T = TypeVar("T")


class State(Documents):
    """One SQLite file, shared by every gpuctl process of this user.

    Each call opens the file for itself, so calls may come from any thread; the file is made by
    the first write. Raises ConfigError, naming the path, when it cannot be read or written.
    """

    def __init__(self, path: Path, *, now: Callable[[], float] = time.time) -> None:
        self.path = path
        self._now = now

    # machines

    def remember(self, machine: Machine) -> None:
        """Stores the machine as it was last seen."""
        self._write(
            "INSERT OR REPLACE INTO machines VALUES (?, ?, ?, ?, ?)",
            (
                machine.id,
                machine.name,
                machine.workload,
                self._now(),
                records.dump(asdict(machine)),
            ),
        )

    def machine(self, id_or_name: str) -> Machine | None:
        """The machine of that id, else the one last seen under that name."""
        found = self._read(
            "SELECT record FROM machines WHERE id = ?1 OR name = ?1"
            " ORDER BY id = ?1 DESC, seen_at DESC LIMIT 1",
            (id_or_name,),
            records.machine,
        )
        return found[0] if found else None

    def machines(self, workload: str | None = None) -> list[Machine]:
        """Every machine remembered, the one seen last first."""
        return self._read(
            "SELECT record FROM machines WHERE ?1 IS NULL OR workload = ?1"
            " ORDER BY seen_at DESC, rowid DESC",
            (workload,),
            records.machine,
        )

    def forget(self, machine_id: str) -> None:
        """Drops the machine, its host key and its facts. The journal and the jobs stay."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM machines WHERE id = ?", (machine_id,))
            connection.execute("DELETE FROM pins WHERE machine_id = ?", (machine_id,))
            connection.execute("DELETE FROM facts WHERE machine_id = ?", (machine_id,))

    def remote_facts(self, machine_id: str) -> Json:
        """What was found out about the machine (workspace, scripts in place, …), else {}."""
        found = self._read(
            "SELECT record FROM facts WHERE machine_id = ?", (machine_id,), records.load
        )
        return found[0] if found else {}

    def set_remote_facts(self, machine_id: str, facts: Json) -> None:
        self._write("INSERT OR REPLACE INTO facts VALUES (?, ?)", (machine_id, records.dump(facts)))

    # host keys

    def pin(self, pin: Pin) -> None:
        self._write(
            "INSERT OR REPLACE INTO pins VALUES (?, ?)", (pin.machine_id, records.dump(asdict(pin)))
        )

    def pinned(self, machine_id: str) -> Pin | None:
        found = self._read(
            "SELECT record FROM pins WHERE machine_id = ?", (machine_id,), records.pin
        )
        return found[0] if found else None

    def unpin(self, machine_id: str) -> bool:
        """Forgets the host key. False when none was pinned."""
        with self._transaction() as connection:
            gone = connection.execute("DELETE FROM pins WHERE machine_id = ?", (machine_id,))
            return gone.rowcount > 0

    # jobs

    def save_job(self, job: JobRecord) -> None:
        """Stores the job, replacing what was known of it."""
        self._write(
            "INSERT OR REPLACE INTO jobs VALUES (?, ?, ?, ?)",
            (job.id, job.workload, job.created_at, records.dump(asdict(job))),
        )

    def job(self, id_or_prefix: str) -> JobRecord:
        """The job whose id is, or alone begins with, `id_or_prefix` (case does not matter).

        Raises NotFound, or UsageError when several begin with it.
        """
        wanted = id_or_prefix.strip()
        found = self._read(
            "SELECT record FROM jobs WHERE lower(substr(id, 1, length(?1))) = lower(?1)"
            " AND length(?1) > 0 ORDER BY length(id), created_at DESC LIMIT 6",
            (wanted,),
            records.job,
        )
        if not found:
            raise NotFound(f"no job {wanted!r} is known here", hint="gpuctl jobs list")
        if len(found) > 1 and found[0].id.lower() != wanted.lower():
            listed = ", ".join(job.id for job in found)
            raise UsageError(
                f"several jobs begin with {wanted!r}: {listed}", hint="give more of the id"
            )
        return found[0]

    def jobs(self, limit: int = 50, workload: str | None = None) -> list[JobRecord]:
        """The newest jobs first."""
        return self._read(
            "SELECT record FROM jobs WHERE ?1 IS NULL OR workload = ?1"
            " ORDER BY created_at DESC, id DESC LIMIT ?2",
            (workload, limit),
            records.job,
        )

    # journal

    def intend(self, name: str, provider: str, workload: str, detail: Json) -> None:
        """Writes, before the call, that something may be about to bill under `name`.

        On disk when this returns. Raises UsageError when the name was used before.
        """
        try:
            self._write(
                "INSERT INTO journal (name, provider, workload, created_at, detail)"
                " VALUES (?, ?, ?, ?, ?)",
                (name, provider, workload, self._now(), records.dump(detail)),
            )
        except sqlite3.IntegrityError as error:
            raise UsageError(f"the name {name} is in the journal already") from error

    def resolve(self, name: str, outcome: str, machine_id: str | None = None) -> None:
        """Writes what became of an intent: created, refused, never_created, terminated, …"""
        self._write(
            "UPDATE journal SET outcome = ?, machine_id = coalesce(?, machine_id),"
            " resolved_at = ? WHERE name = ?",
            (outcome, machine_id, self._now(), name),
        )

    def amend(self, name: str, change: Callable[[Json], Json]) -> None:
        """Adds what `change` makes of the detail of `name`, if the journal has it."""
        with self._transaction() as connection:
            found = connection.execute("SELECT detail FROM journal WHERE name = ?", (name,))
            for (text,) in found.fetchall():
                detail = records.load(text)
                new = records.dump({**detail, **change(detail)})
                connection.execute("UPDATE journal SET detail = ? WHERE name = ?", (new, name))

    def mark(self, name: str, event: str) -> None:
        """Adds an event (stopped, started) to what the journal knows of `name`, if it does."""
        one = {"at": self._now(), "event": event}
        self.amend(name, lambda detail: {"events": [*detail.get("events", ()), one]})

    def intent(self, name: str) -> Intent | None:
        """The journal's row of that name."""
        return next(iter(self._intents("WHERE name = ?", (name,))), None)

    def unresolved(self) -> list[Intent]:
        """Intents of which nobody knows the outcome, oldest first."""
        return self._intents("WHERE outcome IS NULL ORDER BY created_at, rowid")

    def journal(self, limit: int = 200) -> list[Intent]:
        """Everything that ever may have billed, newest first."""
        return self._intents("ORDER BY created_at DESC, rowid DESC LIMIT ?", (limit,))

    def _intents(self, tail: str, values: Sequence[object] = ()) -> list[Intent]:
        columns = (
            "json_object('name', name, 'provider', provider, 'workload', workload,"
            " 'created_at', created_at, 'detail', json(detail), 'outcome', outcome,"
            " 'machine_id', machine_id, 'resolved_at', resolved_at)"
        )
        return self._read(f"SELECT {columns} FROM journal {tail}", values, records.intent)

    # the file

    def _read(self, sql: str, values: Sequence[object], decode: Callable[[str], T]) -> list[T]:
        if not self.path.exists():
            return []
        with self._open() as connection:
            return [decode(row[0]) for row in connection.execute(sql, values)]

    def _write(self, sql: str, values: Sequence[object]) -> None:
        with self._transaction() as connection:
            connection.execute(sql, values)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._named_errors():
            self._make_file()
        with self._open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with (
            self._named_errors(),
            closing(
                sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
            ) as connection,
        ):
            self._prepare(connection)
            yield connection

    def _make_file(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not self.path.exists():
            # SQLite gives its -wal and -shm the mode of the main file.
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))

    def _prepare(self, connection: sqlite3.Connection) -> None:
        version = _version(connection)
        if version == SCHEMA_VERSION:
            return
        if version > SCHEMA_VERSION:
            raise ConfigError(
                f"{self.path} was written by a newer gpuctl (schema {version})",
                hint="upgrade gpuctl",
            )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")  # of two at once, the second adds nothing
        for added in range(_version(connection) + 1, SCHEMA_VERSION + 1):
            for statement in ADDED[added].split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {added}")
        connection.execute("COMMIT")

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.IntegrityError:
            raise
        except (sqlite3.Error, OSError, ValueError, TypeError) as error:
            raise ConfigError(
                f"the state file {self.path} cannot be used: {error}", hint=_remedy(error)
            ) from error


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _remedy(error: Exception) -> str:
    if "locked" in str(error):
        return "another gpuctl is writing to it; try again"
    if isinstance(error, OSError | sqlite3.OperationalError):
        return "make it and its folder writable, or set XDG_STATE_HOME to another folder"
    return "move the file away; machines that are billing are found again with: gpuctl status"
