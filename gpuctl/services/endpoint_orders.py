"""From wishes and configuration to the order for an endpoint: pools, exclusions, limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from gpuctl.config import Settings
from gpuctl.errors import BudgetRefused, NoCapacity, UsageError
from gpuctl.models import Json, Need, Secret
from gpuctl.providers.runpod_endpoints import (
    VOLUME_PATH,
    Card,
    EndpointOrder,
    RunpodEndpoints,
)
from gpuctl.services import durations, orders
from gpuctl.services.creating import new_name

LONGEST_IDLE_S = 3600
SHORTEST_DELAY_S = 0.5


@dataclass(frozen=True, slots=True)
class EndpointWishes:
    """What the command line says; None and empty leave it to the configuration."""

    image: str | None = None
    min_vram_gb: int | None = None
    gpus: tuple[str, ...] = ()
    max_price_usd_h: float | None = None
    workers_min: int | None = None
    workers_max: int | None = None
    idle_timeout: str | None = None
    timeout: str | None = None
    scaling: str | None = None
    flashboot: bool | None = None
    volume_ids: tuple[str, ...] = ()
    data_centers: tuple[str, ...] = ()
    template_id: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which cards a worker may get: pools, and what in them is left out."""

    pools: tuple[str, ...]
    excluded: tuple[str, ...]
    cards: tuple[Card, ...]

    @property
    def dearest_usd_h(self) -> float:
        return max(card.price_usd_h for card in self.cards)


@dataclass(frozen=True, slots=True)
class EndpointPlan:
    """What would be asked for, and the cards that its workers may get, the cheapest first."""

    order: EndpointOrder
    choice: Choice


def plan(
    settings: Settings,
    workload: str,
    need: Need,
    asked: EndpointWishes,
    cards: Sequence[Card],
    secrets: Mapping[str, Secret],
) -> EndpointPlan:
    """Flags over configuration; `need.image` is the workers'. Raises UsageError, NoCapacity,
    BudgetRefused."""
    limit = asked.max_price_usd_h
    limit = settings.number("endpoint.max_price_usd_h") if limit is None else limit
    need = replace(
        need,
        vram_gb=need.vram_gb if asked.min_vram_gb is None else asked.min_vram_gb,
    )
    choice = choose(cards, vram_gb=need.vram_gb, max_price_usd_h=limit, gpus=asked.gpus)
    least, most = worker_limits(settings, asked)
    volume_ids = asked.volume_ids or settings.strings("endpoint.volume_ids")
    workspace = {"GPUCTL_WORKSPACE": VOLUME_PATH} if volume_ids else {}
    found = EndpointOrder(
        name=new_name(workload),
        workload=workload,
        need=need,
        pools=choice.pools,
        excluded=choice.excluded,
        workers_min=least,
        workers_max=most,
        idle_timeout_s=idle_timeout_s(asked.idle_timeout or settings.text("endpoint.idle_timeout")),
        timeout_s=timeout_s(asked.timeout or settings.text("endpoint.timeout")),
        scaling=scaling(asked.scaling or settings.text("endpoint.scaling")),
        flashboot=settings.flag("endpoint.flashboot")
        if asked.flashboot is None
        else asked.flashboot,
        volume_ids=volume_ids,
        data_centers=asked.data_centers,
        env={
            "GPUCTL_WORKLOAD": workload,
            **orders.told(settings, workload),
            **workspace,
            **asked.env,
        },
        secrets={name: secret for name, secret in secrets.items() if name not in asked.env},
        template_id=asked.template_id,
    )
    return EndpointPlan(found, choice)


def choose(
    cards: Sequence[Card], *, vram_gb: int, max_price_usd_h: float, gpus: Sequence[str] = ()
) -> Choice:
    """The pools of every card that is large and cheap enough, the cheapest first, without the
    others in them. Pools are all that RunPod takes (facts: runpod.md §3.1).

    Raises NoCapacity when no card is large enough, BudgetRefused when those are too dear.
    """
    named = [card for card in cards if not gpus or _is_named(card, gpus)]
    large = [card for card in named if card.memory_gb >= vram_gb]
    if not large:
        known = ", ".join(sorted({card.name for card in cards}))
        raise NoCapacity(
            f"no serverless GPU has {vram_gb} GB" + (f" among {', '.join(gpus)}" if gpus else ""),
            hint=f"serverless GPUs: {known}",
        )
    fitting = [card for card in large if card.price_usd_h <= max_price_usd_h]
    if not fitting:
        cheapest = min(large, key=lambda card: card.price_usd_h)
        raise BudgetRefused(
            f"the cheapest worker with {vram_gb} GB is {cheapest.name} at "
            f"${cheapest.price_usd_h:.2f}/h, above the limit of ${max_price_usd_h:.2f}/h",
            hint=f"--max-price {cheapest.price_usd_h:.2f}",
        )
    pools = tuple(dict.fromkeys(card.pool for card in fitting))
    kept = {card.id for card in fitting}
    excluded = tuple(card.id for card in cards if card.pool in pools and card.id not in kept)
    return Choice(pools, excluded, tuple(fitting))


def places_of(
    endpoints: RunpodEndpoints, volume_ids: Sequence[str], asked: Sequence[str]
) -> tuple[str, ...]:
    """The data centres of the volumes: workers elsewhere could not mount them, and one volume in
    each is all that RunPod takes (§3.1). Raises UsageError, NotFound."""
    places = [endpoints.volume_data_center(each) for each in volume_ids]
    if len(set(places)) < len(places):
        raise UsageError(
            f"two of the volumes are in one data centre: {', '.join(places)}",
            hint="one network volume per data centre",
        )
    foreign = [place for place in asked if places and place not in places]
    if foreign:
        raise UsageError(
            f"no volume is in {', '.join(foreign)}", hint=f"--dc {' --dc '.join(places)}"
        )
    return tuple(asked) or tuple(places)


def worker_limits(settings: Settings, asked: EndpointWishes) -> tuple[int, int]:
    """Raises UsageError unless 0 ≤ min ≤ max and max ≥ 1."""
    least, most = asked.workers_min, asked.workers_max
    least = settings.integer("endpoint.workers_min") if least is None else least
    most = settings.integer("endpoint.workers_max") if most is None else most
    if not 0 <= least <= most or most < 1:
        raise UsageError(
            f"at least {least} and at most {most} workers is not possible",
            hint="--min-workers 0 --max-workers 3",
        )
    return least, most


def idle_timeout_s(text: str) -> int:
    found = round(durations.parsed(text, "--idle-timeout"))
    if not 1 <= found <= LONGEST_IDLE_S:
        raise UsageError("a worker may idle for 1 second to 1 hour", hint="--idle-timeout 30s")
    return found


def timeout_s(text: str) -> float:
    """How long one job may run; RunPod's own least is 5 seconds."""
    found = durations.parsed(text, "--timeout")
    if found < 5:
        raise UsageError("a job may run for at least 5 seconds", hint="--timeout 10m")
    return found


def scaling(text: str) -> Json:
    """`queue-delay:SECONDS` or `request-count:N` as RunPod says it. Raises UsageError."""
    kind, _, number = text.partition(":")
    try:
        if kind == "queue-delay" and float(number) >= SHORTEST_DELAY_S:
            return {"type": "QUEUE_DELAY", "queueDelay": float(number)}
        if kind == "request-count" and int(number) >= 1:
            return {"type": "REQUEST_COUNT", "requestCount": int(number)}
    except ValueError:
        pass
    raise UsageError(
        f"there is no scaling '{text}'",
        hint="queue-delay:SECONDS (0.5 or more) or request-count:N (1 or more)",
    )


def _is_named(card: Card, gpus: Sequence[str]) -> bool:
    texts = (card.id.lower(), card.pool.lower())
    return any(wanted.lower() in text for wanted in gpus for text in texts)
