"""What is asked of RunPod for an endpoint, and what its workers tell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gpuctl.console import Console, Options
from gpuctl.context import Context
from gpuctl.errors import BudgetRefused, NoCapacity, UsageError
from gpuctl.models import Endpoint
from gpuctl.providers.runpod_endpoints import Card, endpoint_of, price_usd_h, workers_body
from gpuctl.services.endpoint_diagnosis import diagnose
from gpuctl.services.endpoint_memory import as_machine, named, remember
from gpuctl.services.endpoint_orders import choose, scaling

CARDS = (
    Card("NVIDIA RTX A5000", "A5000", "AMPERE_24", 24, 0.43),
    Card("NVIDIA L4", "L4", "AMPERE_24", 24, 0.62),
    Card("NVIDIA GeForce RTX 3090", "3090", "AMPERE_24", 24, 0.74),
    Card("NVIDIA A40", "A40", "AMPERE_48", 48, 0.70),
    Card("NVIDIA H100", "H100", "ADA_80_PRO", 80, 4.18),
)
ONE = Endpoint("e1", "gpuctl-tts-01jz0000000000000000abcdef", "tts", pools=("AMPERE_24",))


def test_pools_are_those_of_every_card_that_fits_without_the_others_in_them() -> None:
    found = choose(CARDS, vram_gb=24, max_price_usd_h=0.70)
    assert found.pools == ("AMPERE_24", "AMPERE_48")
    assert found.excluded == ("NVIDIA GeForce RTX 3090",)
    assert found.dearest_usd_h == 0.70
    assert choose(CARDS, vram_gb=24, max_price_usd_h=9, gpus=("l4",)).excluded == (
        "NVIDIA RTX A5000",
        "NVIDIA GeForce RTX 3090",
    )


def test_too_little_memory_and_too_little_money_are_told_apart() -> None:
    with pytest.raises(NoCapacity):
        choose(CARDS, vram_gb=141, max_price_usd_h=9)
    with pytest.raises(BudgetRefused, match=r"H100 at \$4\.18") as refused:
        choose(CARDS, vram_gb=80, max_price_usd_h=2)
    assert refused.value.hint == "--max-price 4.18"


def test_a_queue_that_scales_by_its_length_is_sent_no_idle_timeout() -> None:
    by_count = scaling("request-count:2")
    assert by_count == {"type": "REQUEST_COUNT", "requestCount": 2}
    assert workers_body(0, 3, 10, by_count) == {"min": 0, "max": 3}
    assert workers_body(0, 3, 10, scaling("queue-delay:4"))["idleTimeout"] == 10
    for wrong in ("queue-delay:0.1", "request-count:0", "often", "queue-delay:", "request-count:x"):
        with pytest.raises(UsageError):
            scaling(wrong)


def test_an_endpoint_is_read_leniently_and_priced_at_its_dearest_card() -> None:
    found = endpoint_of({"id": "e1", "name": "gpuctl-tts-01jz -fb", "news": 1, "gpu": None})
    assert (found.workload, found.workers_min, found.pools) == ("tts", 0, ())
    assert price_usd_h(ONE, CARDS) == 0.74
    assert price_usd_h(replace(ONE, excluded=("NVIDIA GeForce RTX 3090",)), CARDS) == 0.62
    assert price_usd_h(found, CARDS) is None


def test_a_name_finds_its_endpoint_with_or_without_what_runpod_adds() -> None:
    flashed = replace(ONE, name=f"{ONE.name} -fb")
    for text in ("e1", ONE.name, "tts-abcdef", "tts"):
        assert named(text, [flashed]) == flashed
    assert named("flux", [flashed]) is None
    assert as_machine(flashed).id == "e1"


@pytest.mark.parametrize(
    ("summary", "most", "cause"),
    [
        ({"unhealthy": 1, "throttled": 2}, 3, "crash_loop"),
        ({"throttled": 1}, 3, "no_capacity"),
        ({"running": 3}, 3, "busy"),
        ({"initializing": 1}, 3, "starting"),
        ({}, 3, "starting"),
        ({}, 0, "paused"),
    ],
)
def test_a_crash_loop_is_never_taken_for_a_lack_of_gpus(
    summary: dict[str, int], most: int, cause: str
) -> None:
    workers = [{"id": "w1", "status": "UNHEALTHY"}]
    found = diagnose(replace(ONE, workers_max=most), {"summary": summary, "workers": workers})
    assert found.cause == cause
    if cause == "crash_loop":
        assert "--worker w1" in found.hint


@pytest.mark.parametrize(
    ("told", "used"),
    [
        ("https://api.runpod.ai/v2/e1/run", "https://api.runpod.ai/v2/e1"),
        ("https://elsewhere.example/v2/e1/run", "https://api.runpod.ai/v2/e1"),
        (None, "https://api.runpod.ai/v2/e1"),
    ],
)
def test_jobs_are_sent_to_runpods_own_host_whatever_an_answer_said(
    told: str | None, used: str, private_home: Path
) -> None:
    environ = {"XDG_STATE_HOME": str(private_home / "s"), "XDG_CACHE_HOME": str(private_home / "c")}
    environ |= {"XDG_CONFIG_HOME": str(private_home / "g"), "RUNPOD_API_KEY": "rpa_test"}
    context = Context(Console(Options()), environ=environ)
    remember(context.state, replace(ONE, run_url=told))
    assert context.queue_link(as_machine(ONE)).options.jobs_url == used
