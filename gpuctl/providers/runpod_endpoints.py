"""RunPod's serverless endpoints: what is on the wire, turned into gpuctl's words and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from gpuctl.clients.runpod_api import RunpodApi
from gpuctl.errors import NotFound
from gpuctl.models import ENDPOINT_PROVIDER, Endpoint, Json, Need, Secret
from gpuctl.providers.base import LogLine

NAME = ENDPOINT_PROVIDER
VOLUME_PATH = "/runpod-volume"


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU type that serverless workers may get. Price in USD an hour for one card."""

    id: str
    name: str
    pool: str
    memory_gb: int
    price_usd_h: float


@dataclass(frozen=True, slots=True)
class EndpointOrder:
    """An endpoint that is wanted, fully resolved. Times in seconds; `scaling` is RunPod's object.

    `secrets` go into the environment of its workers and are shown nowhere.
    """

    name: str
    workload: str
    need: Need
    pools: tuple[str, ...]
    excluded: tuple[str, ...]
    workers_min: int
    workers_max: int
    idle_timeout_s: int
    timeout_s: float
    scaling: Json
    flashboot: bool
    gpu_count: int = 1
    volume_ids: tuple[str, ...] = ()
    data_centers: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    template_id: str | None = None


class RunpodEndpoints:
    """Calls of REST v2; errors are those of clients/http.py."""

    name = NAME

    def __init__(self, api: RunpodApi) -> None:
        self.api = api

    def cards(self) -> list[Card]:
        """What the catalogue offers to workers, the cheapest first."""
        found = [card for each in self.api.list_prices() if (card := _card(each))]
        return sorted(found, key=lambda card: (card.price_usd_h, card.memory_gb, card.id))

    def list(self) -> list[Endpoint]:
        return [endpoint_of(each) for each in self.api.list_endpoints()]

    def get(self, endpoint_id: str) -> Endpoint:
        """Raises NotFound."""
        return endpoint_of(self.api.get_endpoint(endpoint_id))

    def volume_data_center(self, volume_id: str) -> str:
        """Where the network volume is. Raises NotFound."""
        return str(self.api.network_volume(volume_id).get("dataCenter") or "")

    def body(self, order: EndpointOrder) -> Json:
        """The create body, in full but for the secrets; the timeout is always said (§3.1)."""
        body: Json = {
            "name": order.name,
            "type": "QUEUE",
            "image": order.need.image,
            "gpu": gpu_body(order.pools, order.excluded, order.gpu_count, order.need.min_cuda),
            "workers": workers_body(
                order.workers_min, order.workers_max, order.idle_timeout_s, order.scaling
            ),
            "scaling": dict(order.scaling),
            "flashboot": "FLASHBOOT" if order.flashboot else "OFF",
            "timeout": round(order.timeout_s * 1000),
            "disk": order.need.disk_gb,
            "env": dict(order.env),
            "networkVolumes": list(order.volume_ids),
        }
        if order.data_centers:
            body["dataCenterIds"] = list(order.data_centers)
        if order.template_id:
            body["templateId"] = order.template_id
        return body

    def create(self, order: EndpointOrder) -> Endpoint:
        """An ApiError without `status`, or from 500 on: nobody knows whether it exists."""
        return endpoint_of(self.api.create_endpoint(self.body(order), order.secrets))

    def update(
        self, endpoint_id: str, body: Json, secrets: Mapping[str, Secret] | None = None
    ) -> Endpoint:
        return endpoint_of(self.api.patch_endpoint(endpoint_id, body, secrets or {}))

    def environment(self, endpoint_id: str) -> dict[str, str]:
        """In clear, secrets included: for a patch, which replaces it whole; never to be shown."""
        env = _table(self.api.get_endpoint(endpoint_id).get("env"))
        return {str(name): str(value) for name, value in env.items()}

    def delete(self, endpoint_id: str) -> None:
        """One that is gone already is success."""
        try:
            self.api.delete_endpoint(endpoint_id)
        except NotFound:
            return

    def workers(self, endpoint_id: str) -> Json:
        return self.api.endpoint_workers(endpoint_id)

    def releases(self, endpoint_id: str) -> Json:
        return self.api.endpoint_releases(endpoint_id)

    def logs(
        self, endpoint_id: str, worker_id: str, *, tail: int, follow: bool, quiet_s: float = 2.0
    ) -> Iterator[LogLine]:
        """The stream never ends by itself; without `follow` it does after `quiet_s` of silence."""
        lines = self.api.worker_logs(
            endpoint_id, worker_id, tail=tail, quiet_s=None if follow else quiet_s
        )
        for line in lines:
            yield LogLine(
                ts=str(line.get("ts") or ""),
                source=str(line.get("source") or ""),
                text=str(line.get("line") or ""),
                id=str(line.get("id") or ""),
            )


def gpu_body(
    pools: Iterable[str], excluded: Iterable[str], count: int, min_cuda: str | None
) -> Json:
    """Pools and exclusions always go together: pools alone would clear them (§3.1)."""
    gpu: Json = {"pools": list(pools), "excludedTypes": list(excluded), "count": count}
    if min_cuda:
        gpu["minCudaVersion"] = min_cuda
    return gpu


def workers_body(least: int, most: int, idle_timeout_s: int | None, scaling: Json) -> Json:
    """A queue that scales by its length has no idle timeout (§3.1)."""
    workers: Json = {"min": least, "max": most}
    if scaling.get("type") != "REQUEST_COUNT" and idle_timeout_s:
        workers["idleTimeout"] = idle_timeout_s
    return workers


def endpoint_of(record: Json) -> Endpoint:
    """Read leniently: fields of later servers are ignored."""
    gpu, workers = _table(record.get("gpu")), _table(record.get("workers"))
    name = str(record.get("name") or "")
    idle = workers.get("idleTimeout")
    return Endpoint(
        id=str(record["id"]),
        name=name,
        workload=workload_of(name, _table(record.get("env"))),
        image=record.get("image"),
        pools=tuple(map(str, gpu.get("pools") or ())),
        excluded=tuple(map(str, gpu.get("excludedTypes") or ())),
        gpu_count=int(gpu.get("count") or 1),
        workers_min=int(workers.get("min") or 0),
        workers_max=int(workers.get("max") or 0),
        idle_timeout_s=int(idle) if idle is not None else None,
        timeout_s=float(record.get("timeout") or 0) / 1000,
        scaling=_table(record.get("scaling")),
        flashboot=str(record.get("flashboot") or "OFF"),
        data_centers=tuple(map(str, record.get("dataCenterIds") or ())),
        volume_ids=tuple(map(str, record.get("networkVolumes") or ())),
        run_url=_table(record.get("requestUrls")).get("run"),
        created_at=record.get("createdAt"),
    )


def workload_of(name: str, env: Json) -> str | None:
    """Ours say it in their environment; and gpuctl-<workload>-<ulid> is how they are called."""
    if env.get("GPUCTL_WORKLOAD"):
        return str(env["GPUCTL_WORKLOAD"])
    parts = name.split("-")
    return parts[1] if len(parts) >= 3 and parts[0] == "gpuctl" else None


def price_usd_h(endpoint: Endpoint, cards: Iterable[Card]) -> float | None:
    """One worker at the dearest card it may get."""
    fitting = [
        card.price_usd_h
        for card in cards
        if card.pool in endpoint.pools and card.id not in endpoint.excluded
    ]
    return max(fitting) * endpoint.gpu_count if fitting else None


def _card(gpu: Json) -> Card | None:
    """None for what no worker can get: AMD, cards without a pool or without a price."""
    price = _table(gpu.get("price")).get("serverless")
    pool, is_nvidia = gpu.get("pool"), str(gpu.get("manufacturer") or "NVIDIA").upper() == "NVIDIA"
    if not pool or not price or not is_nvidia or gpu.get("id") in (None, "unknown"):
        return None
    return Card(
        id=str(gpu["id"]),
        name=str(gpu.get("name") or gpu["id"]),
        pool=str(pool),
        memory_gb=int(gpu.get("memory") or 0),
        price_usd_h=float(price),
    )


def _table(value: Any) -> Json:
    return cast(Json, value) if isinstance(value, dict) else {}
