"""Which offers suit an order, in the order in which they are tried. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches

from gpuctl.errors import BudgetRefused, NoCapacity, UsageError
from gpuctl.models import Offer

_STOCK = {"HIGH": 0, "MEDIUM": 1, "LOW": 2, "UNKNOWN": 3}


def candidates(
    offers: Sequence[Offer],
    *,
    gpus: Sequence[str] = (),
    min_vram_gb: int = 0,
    max_price_usd_h: float | None = None,
    data_centers: Sequence[str] = (),
) -> list[Offer]:
    """The offers worth asking for, best first: wanted GPU, price, stock, fewer GB (runpod.md §5.1).

    Each filter that leaves nothing says so: UsageError for a GPU nobody lists, NoCapacity when it
    is too small or out of stock, BudgetRefused when all that is left is above the limit.
    """
    wanted = _wanted(offers, gpus)
    large = [offer for offer in wanted if offer.vram_gb >= min_vram_gb]
    if not large:
        raise NoCapacity(
            f"no GPU on offer has {min_vram_gb} GB" + (f" ({', '.join(gpus)})" if gpus else ""),
            hint="gpuctl gpus --all shows what there is",
        )
    here = [offer for offer in large if _is_in(offer, data_centers)]
    in_stock = [offer for offer in here if offer.stock != "NONE"]
    if not in_stock:
        where = f" in {', '.join(data_centers)}" if data_centers else ""
        raise NoCapacity(
            f"nothing that fits is in stock{where}: {_names(large)}",
            hint="allow more with --gpu, --cloud any or another --dc, or try again later",
        )
    affordable = [
        offer
        for offer in in_stock
        if max_price_usd_h is None or offer.price_usd_h <= max_price_usd_h
    ]
    if not affordable:
        cheapest = min(in_stock, key=lambda offer: offer.price_usd_h)
        raise BudgetRefused(
            f"the cheapest that fits is {cheapest.gpu_name} at ${cheapest.price_usd_h:.2f}/h, "
            f"above the limit of ${max_price_usd_h:.2f}/h",
            hint=f"--max-price {cheapest.price_usd_h:.2f} allows it",
        )
    return sorted(affordable, key=lambda offer: _rank(offer, gpus))


def matches(offer: Offer, wanted: str) -> bool:
    """Whether a person who says `wanted` means this GPU: its id or name, or words of them."""
    words, name = _words(wanted), _words(offer.gpu_name)
    return bool(words) and (words == name or words <= _words(offer.gpu_id) | name)


def _wanted(offers: Sequence[Offer], gpus: Sequence[str]) -> list[Offer]:
    for gpu in gpus:
        if offers and not any(matches(offer, gpu) for offer in offers):
            names = sorted({offer.gpu_name for offer in offers})
            near = get_close_matches(gpu, names, n=1)
            raise UsageError(
                f"no GPU called '{gpu}' is on offer",
                hint=f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(names)}",
            )
    if not gpus:
        return list(offers)
    return [offer for offer in offers if any(matches(offer, gpu) for gpu in gpus)]


def _words(text: str) -> frozenset[str]:
    """Lower-case words: '4090' is in 'NVIDIA GeForce RTX 4090', 'L4' is not in 'NVIDIA L40'."""
    return frozenset(re.findall(r"[a-z0-9.]+", text.lower()))


def _is_in(offer: Offer, data_centers: Sequence[str]) -> bool:
    """Community stock has no place, so a wish for one leaves it out."""
    return not data_centers or any(center in offer.data_centers for center in data_centers)


def _rank(offer: Offer, gpus: Sequence[str]) -> tuple[int, float, int, int, str]:
    preference = next((i for i, gpu in enumerate(gpus) if matches(offer, gpu)), 0)
    stock = _STOCK.get(offer.stock, _STOCK["UNKNOWN"])
    return (preference, offer.price_usd_h, stock, offer.vram_gb, offer.gpu_id)


def _names(offers: Sequence[Offer]) -> str:
    return ", ".join(dict.fromkeys(offer.gpu_name for offer in offers))
