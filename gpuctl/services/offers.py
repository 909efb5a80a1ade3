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
    place = _preference(offers, gpus)
    return sorted(affordable, key=lambda offer: (place.get(offer, 0), _rank(offer)))


def listing(
    offers: Sequence[Offer],
    *,
    gpus: Sequence[str] = (),
    min_vram_gb: int = 0,
    max_price_usd_h: float | None = None,
    data_centers: Sequence[str] = (),
    with_unavailable: bool = False,
) -> list[Offer]:
    """The same filters and order for looking instead of renting: nothing found is no error."""
    fits = [
        offer
        for offer in _wanted(offers, gpus)
        if offer.vram_gb >= min_vram_gb
        and _is_in(offer, data_centers)
        and (max_price_usd_h is None or offer.price_usd_h <= max_price_usd_h)
        and (with_unavailable or offer.stock != "NONE")
    ]
    return sorted(fits, key=_rank)


def matching(offers: Sequence[Offer], wanted: str) -> list[Offer]:
    """What a person who says `wanted` means: that id or name, else those with all its words."""
    asked = words(wanted)
    exact = [offer for offer in offers if asked in (words(offer.gpu_name), words(offer.gpu_id))]
    if exact or not asked:
        return exact
    return [offer for offer in offers if asked <= words(offer.gpu_id) | words(offer.gpu_name)]


def _wanted(offers: Sequence[Offer], gpus: Sequence[str]) -> list[Offer]:
    """The offers of the GPUs asked for, the GPU named first before the others."""
    if not gpus:
        return list(offers)
    found: list[Offer] = []
    for gpu in gpus:
        meant = matching(offers, gpu)
        if offers and not meant:
            raise _unknown(gpu, sorted({offer.gpu_name for offer in offers}))
        found += [offer for offer in meant if offer not in found]
    return found


def _unknown(gpu: str, names: list[str]) -> UsageError:
    near = get_close_matches(gpu, names, n=1)
    return UsageError(
        f"no GPU called '{gpu}' is on offer",
        hint=f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(names)}",
    )


def words(text: str) -> frozenset[str]:
    """Lower-case words: '4090' is in 'NVIDIA GeForce RTX 4090', 'L4' is not in 'NVIDIA L40'."""
    return frozenset(re.findall(r"[a-z0-9.]+", text.lower()))


def _is_in(offer: Offer, data_centers: Sequence[str]) -> bool:
    """Community stock has no place, so a wish for one leaves it out."""
    return not data_centers or any(center in offer.data_centers for center in data_centers)


def _preference(offers: Sequence[Offer], gpus: Sequence[str]) -> dict[Offer, int]:
    """The place of each offer's GPU among those asked for."""
    places: dict[Offer, int] = {}
    for place, gpu in enumerate(gpus):
        for offer in matching(offers, gpu):
            places.setdefault(offer, place)
    return places


def _rank(offer: Offer) -> tuple[float, int, int, str]:
    stock = _STOCK.get(offer.stock, _STOCK["UNKNOWN"])
    return (offer.price_usd_h, stock, offer.vram_gb, offer.gpu_id)


def _names(offers: Sequence[Offer]) -> str:
    return ", ".join(dict.fromkeys(offer.gpu_name for offer in offers))
