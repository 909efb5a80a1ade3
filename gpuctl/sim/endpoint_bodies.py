"""What may be said of a serverless endpoint: closed bodies, and the rules beyond their shape."""

from __future__ import annotations

from typing import Any

from gpuctl.models import Json
from gpuctl.sim import bodies, catalog, clock
from gpuctl.sim.problems import Problem, not_found
from gpuctl.sim.volumes import Volumes

URLS = {
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


def _delay(value: Any) -> str | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return None if is_number and value >= 0.5 else "must be a number, at least 0.5"


def _scaling(value: Any) -> str | None:
    by_type: dict[str, dict[str, bodies.Rule]] = {
        "QUEUE_DELAY": {"queueDelay": _delay},
        "REQUEST_COUNT": {"requestCount": bodies.whole(1)},
    }
    own = by_type.get(value.get("type", "")) if isinstance(value, dict) else None
    if own is None:
        return "must be an object with type QUEUE_DELAY or REQUEST_COUNT"
    fields: dict[str, bodies.Rule] = {"type": bodies.text(1), **own}
    return "; ".join(bodies.violations(value, fields, tuple(fields))) or None


_COMMON: dict[str, bodies.Rule] = {
    **bodies.CONTAINER,
    "name": bodies.text(1),
    "workers": _WORKERS,
    "scaling": _scaling,
    "dataCenterIds": bodies.array(bodies.text()),
    "networkVolumes": bodies.array(bodies.text()),
    "templateId": bodies.text(1),
    "timeout": bodies.whole(0),
    "flashboot": bodies.one_of("OFF", "FLASHBOOT", "PRIORITY_FLASHBOOT"),
}
CREATE = {**_COMMON, "type": bodies.one_of("QUEUE"), "gpu": bodies.closed(_GPU, ("pools",))}
UPDATE = {**_COMMON, "gpu": bodies.closed(_GPU)}
REQUIRED = ("name", "type", "scaling", "image", "gpu")


def checked_create(body: Any, volumes: Volumes) -> Json:
    """Raises Problem 422 for the shape, 400 for a pool, 404 for a volume that does not exist."""
    checked = bodies.check(body, CREATE, REQUIRED)
    _check_idle_time(checked["scaling"], checked.get("workers", {}))
    _check_names(checked, volumes)
    return checked


def made(checked: Json, endpoint_id: str) -> Json:
    """The endpoint's record, with what the platform fills in."""
    gpu = {"count": 1, "allowedCudaVersions": [], "minCudaVersion": None, **checked["gpu"]}
    workers: Json = {"min": 0, "max": 3, "idleTimeout": 10, **checked.get("workers", {})}
    defaults: Json = {"args": "", "disk": 20, "env": {}, "ports": [], "registry": None}
    # A timeout that is left out was seen to be 0 (facts: runpod.md §3.1).
    defaults |= {"dataCenterIds": [], "networkVolumes": [], "timeout": 0, "flashboot": "OFF"}
    record = {**defaults, **checked, "id": endpoint_id, "gpu": gpu, "workers": workers}
    return _fitting({**record, "createdAt": clock.rfc3339(clock.now())})


def checked_update(body: Any, record: Json, volumes: Volumes) -> Json:
    """The fields as they will be: nested ones whole."""
    checked = bodies.check(body, UPDATE)
    _check_idle_time(checked.get("scaling") or record["scaling"], checked.get("workers", {}))
    _check_names(checked, volumes)
    if "workers" in checked:
        checked = {**checked, "workers": {**record["workers"], **checked["workers"]}}
    if "gpu" in checked:
        checked = {**checked, "gpu": _merged_gpu(record["gpu"], checked["gpu"])}
    fitting = _fitting({**record, **checked})
    return {name: fitting[name] for name in {*checked, "workers"}}


def _merged_gpu(old: Json, new: Json) -> Json:
    """Pools without exclusions clear these; an empty CUDA version clears that."""
    if "excludedTypes" in new and "pools" not in new:
        raise Problem(422, "request body does not match the schema", ["gpu: pools is required"])
    merged = {**old, **new}
    if "pools" in new and "excludedTypes" not in new:
        merged.pop("excludedTypes", None)
    if merged.get("minCudaVersion") == "":
        merged["minCudaVersion"] = None
    return merged


def _fitting(record: Json) -> Json:
    """A queue that scales by its length has no idle timeout in what is told of it (§3.1)."""
    if record["scaling"]["type"] != "REQUEST_COUNT":
        return record
    workers = {name: value for name, value in record["workers"].items() if name != "idleTimeout"}
    return {**record, "workers": workers}


def _check_idle_time(scaling: Json, workers: Json) -> None:
    if scaling["type"] == "REQUEST_COUNT" and "idleTimeout" in workers:
        reason = "workers.idleTimeout: is not allowed with REQUEST_COUNT"
        raise Problem(422, "request body does not match the schema", [reason])


def _check_names(checked: Json, volumes: Volumes) -> None:
    pools = {gpu.pool for gpu in catalog.GPUS}
    for pool in checked.get("gpu", {}).get("pools", ()):
        if pool not in pools:
            raise Problem(400, f"unknown gpu pool {pool}")
    if "templateId" in checked:
        raise not_found("template", checked["templateId"])  # the simulated account has none
    known = {volume["id"] for volume in volumes.all()}
    for volume_id in checked.get("networkVolumes", ()):
        if volume_id not in known:
            raise not_found("network volume", volume_id)
    workers = checked.get("workers", {})
    if workers.get("min", 0) > workers.get("max", workers.get("min", 0)):
        raise Problem(400, "workers.min must not exceed workers.max")
