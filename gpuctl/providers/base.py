"""What a provider is: verbs that return at once. Waiting is done above, in one loop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from gpuctl.models import Json, Machine, MachineRequest, Need, Offer


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a machine's log. `source` is system or container; `ts` is RFC 3339."""

    id: str
    source: str
    ts: str
    text: str


class Provider(Protocol):
    """Rents machines. Every verb is one call; nothing here waits or retries a billed call.

    Errors: CredentialsError 401/403, BudgetRefused 402, NoCapacity for this offer, UsageError 422,
    NotFound 404, ApiError for the rest (its `status` is None when there was no readable answer, so
    that a create may or may not have happened: look it up by name).
    """

    name: str

    def offers(self, need: Need, *, cloud: str, gpu_count: int) -> list[Offer]: ...
    def body(self, request: MachineRequest, offer: Offer) -> Json: ...
    def create(self, request: MachineRequest, offer: Offer) -> Machine: ...
    def get(self, machine_id: str) -> Machine: ...
    def list(self) -> list[Machine]: ...
    def start(self, machine_id: str) -> Machine: ...
    def stop(self, machine_id: str) -> Machine: ...
    def restart(self, machine_id: str) -> Machine: ...
    def terminate(self, machine_id: str) -> None:
        """Something already gone is success."""
        ...

    def logs(
        self,
        machine_id: str,
        *,
        source: str | None,
        tail: int,
        quiet_s: float | None = None,
        since: str | None = None,
        after: str | None = None,
    ) -> Iterator[LogLine]:
        """Backfill, then whatever comes. Ends after `quiet_s` without a line; without it never:
        the caller stops. The backfill is what came behind the line with the id `after`, else since
        the moment `since` (RFC 3339), else the last `tail` lines."""
        ...

    def volume_data_center(self, volume_id: str) -> str:
        """Where a network volume lies: only machines there can mount it."""
        ...
