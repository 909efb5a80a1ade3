"""The nouns every room shares: frozen records without behaviour of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

# JSON as it crosses a border. Inside, records below are used instead.
Json = dict[str, Any]

# The `provider` of what stands for an endpoint where a machine is expected.
ENDPOINT_PROVIDER = "runpod-endpoint"

EventKind = Literal["accepted", "loading", "progress", "log", "artifact", "done", "error"]


class Secret:
    """Must not be shown. Only `clients`, `remote`, `images` and the redactor call `reveal`."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a machine answers ssh."""

    host: str
    port: int = 22
    user: str = "root"

    def __str__(self) -> str:
        return f"{self.user}@{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Machine:
    """Something with a GPU that one can ssh into.

    `id` is the provider's id; for a plain host it is its address. `status` is the provider's word
    in upper case (RUNNING, EXITED, …). `price_usd_h` is the rate billed now, None when unknown.
    `started_at` is the provider's RFC 3339 text: it changes whenever the container was recreated.
    `gpu_util_percent`, `gpu_memory_percent` (means over its cards) and `uptime_s` are telemetry of
    one instant, None when there is none. `urls` is where its other ports answer.
    """

    id: str
    name: str
    provider: str
    status: str
    address: Address | None = None
    workload: str | None = None
    gpu: str | None = None
    gpu_count: int = 1
    price_usd_h: float | None = None
    image: str | None = None
    data_center: str | None = None
    started_at: str | None = None
    created_at: str | None = None
    urls: tuple[str, ...] = ()
    gpu_util_percent: float | None = field(default=None, compare=False)
    gpu_memory_percent: float | None = field(default=None, compare=False)
    uptime_s: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A serverless endpoint: a queue of jobs, and the workers that come and go with it.

    `price_usd_h` is what one worker costs at the dearest card it may get, None when unknown;
    `run_url` is where its jobs are sent. `scaling` is RunPod's own words for it (type and number).
    `paused_max` is the `workers_max` to go back to, None unless it was paused here.
    """

    id: str
    name: str
    workload: str | None = None
    image: str | None = None
    pools: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    gpu_count: int = 1
    workers_min: int = 0
    workers_max: int = 3
    idle_timeout_s: int | None = None
    timeout_s: float = 0.0
    scaling: Json = field(default_factory=dict)
    flashboot: str = "OFF"
    data_centers: tuple[str, ...] = ()
    volume_ids: tuple[str, ...] = ()
    price_usd_h: float | None = None
    run_url: str | None = None
    created_at: str | None = None
    paused_max: int | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """One candidate a provider might rent out. `price_usd_h` is for all `gpu_count` cards."""

    provider: str
    gpu_id: str
    gpu_name: str
    cloud: str
    price_usd_h: float
    vram_gb: int
    gpu_count: int = 1
    stock: str = "UNKNOWN"
    data_centers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Need:
    """What a workload asks of a machine. Sizes in GB."""

    image: str
    vram_gb: int
    disk_gb: int
    volume_gb: int
    ports: tuple[str, ...] = ("22/tcp",)
    min_cuda: str | None = None


@dataclass(frozen=True, slots=True)
class MachineRequest:
    """The resolved order for one machine: what is sent to the provider, offer by offer."""

    name: str
    workload: str
    need: Need
    env: Mapping[str, str] = field(default_factory=dict)
    volume_id: str | None = None
    public_key: str | None = None
    data_centers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """One unit of generation. `id` is a ULID made here, so that a resubmission attaches.

    `inputs` are local files the handler needs: name in the request → local path. They are put
    beside the request on the machine and named there by content.
    """

    id: str
    workload: str
    input: Json
    inputs: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a job's event stream (design §4). `data` is the line's other fields."""

    seq: int
    ts: float
    kind: str
    data: Json = field(default_factory=dict)

    @property
    def is_final(self) -> bool:
        return self.kind in ("done", "error")


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file the worker made: where it lies on the machine, its size in bytes and its sha256."""

    path: str
    bytes: int
    sha256: str
    media_type: str


@dataclass(frozen=True, slots=True)
class Pin:
    """The host key of a machine id, with the address and start at which it was accepted.

    `key` is `<type> <base64>` as in known_hosts.
    """

    machine_id: str
    key: str
    address: str
    started_at: str | None


@dataclass(frozen=True, slots=True)
class JobRecord:
    """What this computer remembers of a job. Times are Unix seconds.

    `status` is submitted, running, done, failed, cancelled, fetched (done and brought home), or
    expired: its queue forgot it, and how it ended is not known.
    `target` is what `--on` would be given to reach the machine again. `context` holds what the
    receipt needs and the worker never sees (the user's own prompt, the destination, …).
    """

    id: str
    workload: str
    machine_id: str
    target: str
    status: str
    created_at: float
    input: Json
    context: Json = field(default_factory=dict)
    artifacts: tuple[Artifact, ...] = ()
    files: tuple[str, ...] = ()
    price_usd_h: float | None = None
    last_seq: int = 0
    finished_at: float | None = None
    metrics: Json = field(default_factory=dict)
    error: str | None = None


class Report(Protocol):
    """Where services say what they do. The console is one; tests pass a recorder."""

    def step(self, text: str) -> None:
        """A phase began. Replaces the previous phase on a live terminal."""
        ...

    def note(self, text: str) -> None: ...
    def warn(self, text: str) -> None: ...
    def progress(self, stage: str, done: float, total: float | None) -> None: ...
