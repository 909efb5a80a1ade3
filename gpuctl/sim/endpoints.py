"""Serverless endpoints as the account shows them: created, scaled, deleted; they run no jobs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from gpuctl.models import Json
from gpuctl.sim import bodies, catalog, clock
from gpuctl.sim.problems import Problem, not_found

JOBS_URL = "https://api.runpod.ai/v2"
_URLS = {
    "run": "run",
    "runSync": "runsync",
    "status": "status/{job_id}",
    "stream": "stream/{job_id}",
    "cancel": "cancel/{job_id}",
    "retry": "retry/{job_id}",
    "purgeQueue": "purge-queue",
    "health": "health",
}
_WORKERS = bodies.closed(
    {"min": bodies.whole(0), "max": bodies.whole(0), "idleTimeout": bodies.whole(1, 3600)}
)
_GPU: dict[str, bodies.Rule] = {
    "pools": bodies.array(bodies.text(1)),
    "excludedTypes": bodies.array(bodies.text(1)),
    "count": bodies.whole(1),
    "allowedCudaVersions": bodies.array(bodies.matching(bodies.CUDA)),
    "minCudaVersion": bodies.matching(bodies.CUDA),
}
_SCALING = bodies.closed(
    {
        "type": bodies.one_of("QUEUE_DELAY", "REQUEST_COUNT"),
        "queueDelay": lambda value: None if isinstance(value, int | float) else "must be a number",
        "requestCount": bodies.whole(1),
    },
    ("type",),
)
_COMMON: dict[str, bodies.Rule] = {
    **bodies.CONTAINER,
    "name": bodies.text(1),
    "workers": _WORKERS,
    "scaling": _SCALING,
    "dataCenterIds": bodies.array(bodies.text()),
    "networkVolumes": bodies.array(bodies.text()),
    "timeout": bodies.whole(0),
    "flashboot": bodies.one_of("OFF", "FLASHBOOT", "PRIORITY_FLASHBOOT"),
}
CREATE = {**_COMMON, "type": bodies.one_of("QUEUE"), "gpu": bodies.closed(_GPU, ("pools",))}
UPDATE = {**_COMMON, "gpu": bodies.closed(_GPU)}


class Endpoints:
    def __init__(
        self, records: Iterable[Json], new_id: Callable[[], str], on_change: Callable[[], None]
    ) -> None:
        self._endpoints = {record["id"]: dict(record) for record in records}
        self._new_id = new_id
        self._on_change = on_change
        self._lock = threading.Lock()

    def all(self) -> list[Json]:
        with self._lock:
            return [dict(endpoint) for endpoint in self._endpoints.values()]

    def get(self, endpoint_id: str) -> Json:
        with self._lock:
            return dict(self._endpoint(endpoint_id))

    def create(self, body: Any) -> Json:
        """Raises Problem 422 for the shape, 400 for a pool that does not exist."""
        checked = bodies.check(body, CREATE, ("name", "type", "scaling", "image", "gpu"))
        for pool in checked["gpu"]["pools"]:
            if pool not in {gpu.pool for gpu in catalog.GPUS}:
                raise Problem(400, f"unknown gpu pool {pool}")
        endpoint_id = self._new_id()
        gpu = {"count": 1, "allowedCudaVersions": [], "minCudaVersion": None, **checked["gpu"]}
        workers = {"min": 0, "max": 3, "idleTimeout": 10, **checked.get("workers", {})}
        defaults: Json = {"args": "", "disk": 20, "env": {}, "ports": [], "registry": None}
        defaults |= {"dataCenterIds": [], "networkVolumes": [], "timeout": 0, "flashboot": "OFF"}
        urls = {name: f"{JOBS_URL}/{endpoint_id}/{path}" for name, path in _URLS.items()}
        made = {"id": endpoint_id, "gpu": gpu, "workers": workers, "requestUrls": urls}
        endpoint = {**defaults, **checked, **made, "createdAt": clock.rfc3339(clock.now())}
        with self._lock:
            self._endpoints[endpoint_id] = endpoint
        self._on_change()
        return endpoint

    def update(self, endpoint_id: str, body: Any) -> Json:
        checked = bodies.check(body, UPDATE)
        with self._lock:
            endpoint = self._endpoint(endpoint_id)
            for name, value in checked.items():
                is_nested = name in ("workers", "gpu")
                endpoint[name] = {**endpoint[name], **value} if is_nested else value
            updated = dict(endpoint)
        self._on_change()
        return updated

    def delete(self, endpoint_id: str) -> None:
        with self._lock:
            self._endpoint(endpoint_id)
            del self._endpoints[endpoint_id]
        self._on_change()

    def _endpoint(self, endpoint_id: str) -> Json:
        if endpoint_id not in self._endpoints:
            raise not_found("endpoint", endpoint_id)
        return self._endpoints[endpoint_id]


def rates(endpoint: Json) -> dict[str, float]:
    """Workers that always run are billed always: as many as `workers.min` (runpod.md §3.1)."""
    gpu = endpoint["gpu"]
    excluded = gpu.get("excludedTypes", [])
    prices = [
        float(catalog.gpu_json(card)["price"].get("serverless", 0.0))
        for card in catalog.GPUS
        if card.pool in gpu["pools"] and card.id not in excluded
    ]
    each = max(prices, default=0.0) * int(gpu["count"])
    return {"gpuAmount": each * int(endpoint["workers"]["min"])}
