"""How the state file writes its records: one JSON document each, read back leniently."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import Any

from gpuctl.models import Address, Artifact, JobRecord, Json, Machine, Pin


@dataclass(frozen=True, slots=True)
class Intent:
    """A journal row: something that may have started billing under `name`. Times in Unix seconds.

    `outcome` is None while nobody knows what became of it; `resolved_at` is when that was last
    learned. `detail["events"]` lists what was done to it since: `{"at", "event"}`.
    """

    name: str
    provider: str
    workload: str
    created_at: float
    detail: Json = field(default_factory=dict)
    outcome: str | None = None
    machine_id: str | None = None
    resolved_at: float | None = None


def dump(record: Json) -> str:
    return json.dumps(record, ensure_ascii=False)


def load(text: str) -> Json:
    loaded = json.loads(text)
    if not isinstance(loaded, dict):
        raise ValueError("a record in it is damaged")
    return loaded


def _known(record: type[Any], values: Json) -> Json:
    """Only the fields this version knows: a later one may have written more."""
    names = {item.name for item in fields(record)}
    return {name: value for name, value in values.items() if name in names}


def machine(text: str) -> Machine:
    values = _known(Machine, load(text))
    address = values.get("address")
    values["urls"] = tuple(values.get("urls") or ())
    return Machine(**{**values, "address": Address(**address) if address else None})


def pin(text: str) -> Pin:
    return Pin(**_known(Pin, load(text)))


def job(text: str) -> JobRecord:
    values = _known(JobRecord, load(text))
    values["artifacts"] = tuple(Artifact(**item) for item in values.get("artifacts", ()))
    values["files"] = tuple(values.get("files", ()))
    return JobRecord(**values)


def intent(text: str) -> Intent:
    return Intent(**_known(Intent, load(text)))
