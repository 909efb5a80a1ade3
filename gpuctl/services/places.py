"""Which data centres fit a wish, and offers in another order than that of renting: pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from gpuctl.errors import UsageError
from gpuctl.holdings import DataCenter
from gpuctl.models import Offer
from gpuctl.services.offers import words

_STOCK = ("HIGH", "MEDIUM", "LOW")
_KEYS: dict[str, Callable[[Offer], float]] = {
    "price": lambda offer: offer.price_usd_h,
    "vram": lambda offer: -offer.vram_gb,
    "stock": lambda offer: _STOCK.index(offer.stock) if offer.stock in _STOCK else len(_STOCK),
    "value": lambda offer: offer.price_usd_h / max(1, offer.vram_gb),
}


def ordered(offers: Sequence[Offer], key: str) -> list[Offer]:
    """By `key`, and by price where that leaves a choice. Raises UsageError."""
    if key not in _KEYS:
        raise UsageError(f"there is no --sort {key}", hint=f"one of {', '.join(_KEYS)}")
    return sorted(offers, key=lambda offer: (_KEYS[key](offer), offer.price_usd_h))


def fitting(
    centers: Sequence[DataCenter], *, gpu: str | None, with_volumes: bool
) -> list[DataCenter]:
    """Those that have the GPU in stock (the others of their stock left out), and volumes."""
    found = []
    for center in centers:
        stock = center.stock
        if gpu is not None:
            stock = tuple(pair for pair in stock if words(gpu) <= words(pair[0]))
        if (gpu is None or stock) and (center.has_volumes or not with_volumes):
            found.append(replace(center, stock=stock))
    return sorted(found, key=lambda center: center.id)
