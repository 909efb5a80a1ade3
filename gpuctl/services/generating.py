"""A checked order of any workload, and how it is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from gpuctl.models import Job, Json, Machine, Report
from gpuctl.services import jobs, targets
from gpuctl.services.delivery import Delivered, Watch, new_record
from gpuctl.services.destinations import Destination
from gpuctl.services.ulids import new_ulid
from gpuctl.services.waiting import Clock

if TYPE_CHECKING:
    from gpuctl.models import JobRecord


@dataclass(frozen=True, slots=True)
class Order:
    """`input` is what the workload's handler reads. `inputs`: name in the machine's workspace →
    local file, sent first. `told` is what only this computer knows: `prompt` (the operator's own
    words), `times`, `receipt` (more for the receipt), …"""

    workload: str
    input: Json
    destination: Destination
    inputs: Mapping[str, Path] = field(default_factory=dict)
    told: Json = field(default_factory=dict)


class Link(jobs.Link, Protocol):
    """A connection that knows what it leads to."""

    @property
    def machine(self) -> Machine: ...


@dataclass(frozen=True, slots=True)
class Sender:
    """What following a job needs beside the link."""

    memory: jobs.Memory
    clock: Clock
    limit_s: float
    report: Report

    def send(self, order: Order, link: Link, *, detach: bool = False) -> Delivered:
        """Sends the order and brings its results home; with `detach` only until it is accepted.

        Raises JobFailed, ConnectionFailed, TransferFailed, Detached (Ctrl-C).
        """
        record = new_record(
            new_ulid(),
            order.workload,
            order.input,
            order.destination,
            link.machine,
            target=targets.name_for(link.machine),
            context=order.told,
            now=self.clock.now(),
        )
        job = Job(record.id, order.workload, order.input, order.inputs)
        return self.watch(record, link).submit(job, detach=detach)

    def watch(self, record: JobRecord, link: jobs.Link) -> Watch:
        return Watch(
            record,
            link,
            self.memory,
            clock=self.clock,
            limit_s=self.limit_s,
            report=self.report,
        )
