"""Which offers are tried, and in which order."""

from __future__ import annotations

from typing import Any

import pytest

from gpuctl.errors import BudgetRefused, NoCapacity, UsageError
from gpuctl.models import Offer
from gpuctl.services.offers import candidates, listing


def an_offer(name: str, price: float, vram: int = 24, **changes: Any) -> Offer:
    values = {
        "provider": "runpod",
        "gpu_id": f"NVIDIA {name}",
        "gpu_name": name,
        "cloud": "SECURE",
        "price_usd_h": price,
        "vram_gb": vram,
        "stock": "HIGH",
        "data_centers": ("EU-RO-1",),
    }
    return Offer(**{**values, **changes})


L4 = an_offer("L4", 0.39)
L40 = an_offer("L40", 0.99, 48)
L40S = an_offer("L40S", 0.89, 48)
RTX_4080 = an_offer("RTX 4080", 0.5, 16)
RTX_4080_SUPER = an_offer("RTX 4080 SUPER", 0.45, 16)
ALL = [L40, L40S, L4, RTX_4080, RTX_4080_SUPER]


def names(offers: list[Offer]) -> list[str]:
    return [offer.gpu_name for offer in offers]


def test_the_cheapest_that_is_large_enough_comes_first() -> None:
    assert names(candidates(ALL, min_vram_gb=24)) == ["L4", "L40S", "L40"]


def test_of_equal_price_the_better_stocked_and_then_the_smaller_comes_first() -> None:
    low = an_offer("A", 1.0, stock="LOW")
    big = an_offer("B", 1.0, 80)
    small = an_offer("C", 1.0, 24)
    assert names(candidates([low, big, small])) == ["C", "B", "A"]


def test_the_wanted_gpus_come_in_the_order_in_which_they_were_named() -> None:
    assert names(candidates(ALL, gpus=["L40", "l4"])) == ["L40", "L4"]


def test_a_full_name_means_that_card_and_no_other() -> None:
    assert names(candidates(ALL, gpus=["RTX  4080"])) == ["RTX 4080"]
    assert names(candidates(ALL, gpus=["4080"])) == ["RTX 4080 SUPER", "RTX 4080"]


def test_what_is_out_of_stock_is_not_tried() -> None:
    gone = an_offer("GONE", 0.1, stock="NONE")
    assert names(candidates([gone, L4])) == ["L4"]
    with pytest.raises(NoCapacity, match="in stock: GONE"):
        candidates([gone])


def test_a_wish_for_a_place_leaves_the_community_cloud_out() -> None:
    community = an_offer("C", 0.1, cloud="COMMUNITY", data_centers=())
    assert names(candidates([community, L4], data_centers=["EU-RO-1"])) == ["L4"]
    with pytest.raises(NoCapacity, match="in stock in US-TX-3"):
        candidates([community, L4], data_centers=["US-TX-3"])


def test_a_limit_below_every_price_is_a_budget_refusal_that_names_the_cheapest() -> None:
    with pytest.raises(BudgetRefused, match=r"L4 at \$0\.39/h, above the limit of \$0\.20/h"):
        candidates([L4, L40], max_price_usd_h=0.2)


def test_a_gpu_nobody_lists_is_a_mistake_with_a_suggestion() -> None:
    with pytest.raises(UsageError) as caught:
        candidates(ALL, gpus=["RTX 4081"])
    assert caught.value.hint == "did you mean 'RTX 4080'?"


def test_more_memory_than_any_card_has_is_said_so() -> None:
    with pytest.raises(NoCapacity, match="no GPU on offer has 200 GB"):
        candidates(ALL, min_vram_gb=200)


def test_looking_finds_nothing_without_complaint() -> None:
    assert listing(ALL, min_vram_gb=200) == []
    assert names(listing(ALL, max_price_usd_h=0.46)) == ["L4", "RTX 4080 SUPER"]
