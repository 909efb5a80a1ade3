"""Which endpoints this computer knows, and which one a name means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Protocol

from gpuctl.errors import NotFound
from gpuctl.models import ENDPOINT_PROVIDER, Endpoint, Json, Machine
from gpuctl.services.targets import short_name

KIND = "endpoint"
_TUPLES = ("pools", "excluded", "data_centers", "volume_ids")


class Memory(Protocol):
    """The part of State that keeps documents."""

    def keep(self, kind: str, key: str, record: Json) -> None: ...
    def kept(self, kind: str, key: str) -> Json | None: ...
    def all_kept(self, kind: str) -> list[Json]: ...
    def drop(self, kind: str, key: str) -> bool: ...


def remember(memory: Memory, endpoint: Endpoint) -> Endpoint:
    memory.keep(KIND, endpoint.id, asdict(endpoint))
    return endpoint


def known(memory: Memory, workload: str | None = None) -> list[Endpoint]:
    """The one seen last first."""
    found = [_endpoint(record) for record in memory.all_kept(KIND)]
    return [each for each in found if workload in (None, each.workload)]


def by_id(memory: Memory, endpoint_id: str) -> Endpoint | None:
    record = memory.kept(KIND, endpoint_id)
    return _endpoint(record) if record else None


def named(text: str, endpoints: Sequence[Endpoint]) -> Endpoint | None:
    """The endpoint of that id, name or end of a name; else the first one of that workload."""
    for each in endpoints:
        if text in (each.id, each.name, bare_name(each.name), short_name(bare_name(each.name))):
            return each
    return next((each for each in endpoints if each.workload == text), None)


def bare_name(name: str) -> str:
    """RunPod has been seen to add ` -fb` to what is booted from a flash."""
    return name.removesuffix(" -fb")


def as_machine(endpoint: Endpoint) -> Machine:
    """What of an endpoint a job's record and receipt hold: where it ran, and at which rate."""
    return Machine(
        id=endpoint.id,
        name=endpoint.name,
        provider=ENDPOINT_PROVIDER,
        status="PAUSED" if endpoint.workers_max == 0 else "READY",
        workload=endpoint.workload,
        gpu_count=endpoint.gpu_count,
        price_usd_h=endpoint.price_usd_h,
        image=endpoint.image,
        created_at=endpoint.created_at,
    )


def stand_in(endpoint_id: str, name: str) -> Machine:
    """For an endpoint of which only this is left to know."""
    return Machine(id=endpoint_id, name=name, provider=ENDPOINT_PROVIDER, status="UNKNOWN")


def none_called(text: str, endpoints: Sequence[Endpoint]) -> NotFound:
    from difflib import get_close_matches  # noqa: PLC0415  only on the way out

    names = [name for each in endpoints for name in (each.name, short_name(bare_name(each.name)))]
    near = get_close_matches(text, names, n=1)
    return NotFound(
        f"there is no endpoint called '{text}'",
        hint=f"did you mean {near[0]}?" if near else "gpuctl endpoint list",
    )


def _endpoint(record: Json) -> Endpoint:
    """Only the fields this version knows: a later one may have written more."""
    names = {item.name for item in fields(Endpoint)}
    values = {name: value for name, value in record.items() if name in names}
    return Endpoint(**{**values, **{name: tuple(values.get(name) or ()) for name in _TUPLES}})
