"""What an update sends: nested fields whole, because RunPod clears what is left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gpuctl.config import Settings
from gpuctl.errors import UsageError
from gpuctl.models import Endpoint, Json, Need, Secret
from gpuctl.providers.runpod_endpoints import gpu_body, workers_body
from gpuctl.services import endpoint_memory, endpoint_orders
from gpuctl.services.endpoint_making import EndpointSession, priced
from gpuctl.services.endpoint_orders import EndpointWishes


def body(
    session: EndpointSession,
    settings: Settings,
    endpoint: Endpoint,
    need: Need | None,
    asked: EndpointWishes,
    *,
    with_env: bool = False,
) -> Json:
    """The patch for these wishes. `env` is replaced whole, so it holds the secrets that are there
    already: never shown. `with_env`: also when no variable changes, for secrets to be added to.

    Raises UsageError when there is nothing to change, NoCapacity, BudgetRefused.
    """
    found: Json = {}
    if asked.image:
        found["image"] = asked.image
    if asked.template_id:
        found["templateId"] = asked.template_id
    if asked.timeout:
        found["timeout"] = round(endpoint_orders.timeout_s(asked.timeout) * 1000)
    if asked.flashboot is not None:
        found["flashboot"] = "FLASHBOOT" if asked.flashboot else "OFF"
    places = endpoint_orders.places_of(session.endpoints, asked.volume_ids, asked.data_centers)
    if places:
        found["dataCenterIds"] = list(places)
    found |= _workers(endpoint, asked)
    if asked.gpus or asked.max_price_usd_h is not None or asked.min_vram_gb is not None:
        found["gpu"] = _gpu(session, settings, endpoint, need, asked)
    found |= _environment(session, endpoint, asked, with_env)
    if not found:
        raise UsageError("nothing to change", hint="gpuctl endpoint update --help")
    return found


def update(
    session: EndpointSession,
    endpoint: Endpoint,
    patch: Json,
    secrets: Mapping[str, Secret] | None = None,
) -> Endpoint:
    changed = session.endpoints.update(endpoint.id, patch, secrets)
    return priced(session, replace(changed, workload=endpoint.workload))


def pause(session: EndpointSession, endpoint: Endpoint) -> Endpoint:
    """No workers any more; what waits, waits. The limit is kept for `resume`."""
    if endpoint.workers_max == 0:
        return endpoint
    remembered = replace(endpoint, paused_max=endpoint.workers_max)
    endpoint_memory.remember(session.state, remembered)
    workers = {"min": 0, "max": 0}
    changed = session.endpoints.update(endpoint.id, {"workers": workers})
    kept = replace(
        changed,
        workload=endpoint.workload,
        price_usd_h=endpoint.price_usd_h,
        paused_max=endpoint.workers_max,
    )
    return endpoint_memory.remember(session.state, kept)


def resume(session: EndpointSession, endpoint: Endpoint, default_max: int) -> Endpoint:
    """As many workers as before the pause; `default_max` where nobody remembers. None always on:
    those would bill at once, and are asked for by an update."""
    if endpoint.workers_max > 0:
        return endpoint
    most = endpoint.paused_max or default_max
    return update(session, endpoint, {"workers": {"min": 0, "max": most}})


def _workers(endpoint: Endpoint, asked: EndpointWishes) -> Json:
    """Workers and scaling depend on each other, and are sent with their present values."""
    counts = (asked.workers_min, asked.workers_max, asked.idle_timeout, asked.scaling)
    if all(wish is None for wish in counts):
        return {}
    scaling = endpoint_orders.scaling(asked.scaling) if asked.scaling else dict(endpoint.scaling)
    idle_s = endpoint.idle_timeout_s
    if asked.idle_timeout:
        idle_s = endpoint_orders.idle_timeout_s(asked.idle_timeout)
    least = endpoint.workers_min if asked.workers_min is None else asked.workers_min
    most = endpoint.workers_max if asked.workers_max is None else asked.workers_max
    if not 0 <= least <= most:
        raise UsageError(f"at least {least} and at most {most} workers is not possible")
    found: Json = {"workers": workers_body(least, most, idle_s, scaling)}
    return {**found, "scaling": scaling} if asked.scaling else found


def _gpu(
    session: EndpointSession,
    settings: Settings,
    endpoint: Endpoint,
    need: Need | None,
    asked: EndpointWishes,
) -> Json:
    if need is None and asked.min_vram_gb is None:
        raise UsageError("how much memory must a GPU have?", hint="--min-vram GB")
    needed_gb, min_cuda = (need.vram_gb, need.min_cuda) if need else (0, None)
    limit = asked.max_price_usd_h
    choice = endpoint_orders.choose(
        session.endpoints.cards(),
        vram_gb=needed_gb if asked.min_vram_gb is None else asked.min_vram_gb,
        max_price_usd_h=settings.number("endpoint.max_price_usd_h") if limit is None else limit,
        gpus=asked.gpus,
    )
    return gpu_body(choice.pools, choice.excluded, endpoint.gpu_count, min_cuda)


def _environment(
    session: EndpointSession, endpoint: Endpoint, asked: EndpointWishes, with_env: bool
) -> Json:
    """`env` is replaced whole: what is there is read first. A volume moves the workspace."""
    if not (asked.env or asked.volume_ids or with_env):
        return {}
    moved = {"GPUCTL_WORKSPACE": "/runpod-volume"} if asked.volume_ids else {}
    env = {**session.endpoints.environment(endpoint.id), **moved, **asked.env}
    volumes = {"networkVolumes": list(asked.volume_ids)} if asked.volume_ids else {}
    return {"env": env, **volumes}
