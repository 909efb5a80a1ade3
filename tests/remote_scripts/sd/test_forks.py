"""The same job against the versions and forks that speak this API, told apart by their routes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.remote_scripts.sd.conftest import Driver
from tests.support.a1111_server import StandIn, as_text, picture, stand_in

Against = Callable[[StandIn], Driver]


@pytest.mark.parametrize(
    ("flavour", "seen"),
    [("1.10", "automatic1111"), ("forge", "forge"), ("sdnext", "sdnext"), ("old", "automatic1111")],
)
def test_a_picture_its_lists_and_its_options_come_from_each(
    against: Against, flavour: str, seen: str
) -> None:
    with stand_in("--flavour", flavour) as server:
        driver = against(server)
        done = driver.paint(prompt="a castle, <lora:lcm:1>", sampler_name="DPM++ 2M Karras")
        assert done.failure == {}
        assert done.result["flavour"] == seen
        assert len(done.artifacts) == 1
        assert driver.run(api="vaes").result["response"]["vaes"]
        assert driver.run(api="interrupt").failure == {}, "SD.Next answers 204 and nothing"
        assert driver.run(api="setOptions", CLIP_stop_at_last_layers=2).failure == {}
        assert driver.paint(prompt="<lora:lmc:1>").failure["code"] == "model_missing"


def test_before_schedulers_had_a_list_the_legacy_name_is_sent_as_it_is(against: Against) -> None:
    with stand_in("--flavour", "old") as server:
        driver = against(server)
        done = driver.paint(sampler_name="DPM++ 2M Karras")
        assert done.result["sampler"] == "DPM++ 2M Karras"
        refused = driver.run(api="schedulers").failure
        assert refused["code"] == "unsupported"


def test_a_key_of_a_fork_is_known_where_the_fork_describes_it(against: Against) -> None:
    with stand_in("--flavour", "forge") as server:
        assert against(server).paint(distilled_cfg_scale=3.5).failure == {}
    with stand_in() as server:
        refused = against(server).paint(distilled_cfg_scale=3.5).failure
        assert "distilled_cfg_scale is not a key" in refused["message"]


def test_the_forks_own_strengths_differ_so_the_one_that_is_asked_for_is_sent(
    against: Against,
) -> None:
    with stand_in("--flavour", "sdnext") as server:
        driver = against(server)
        done = driver.paint(
            api="img2img", init_images=[as_text(picture())], denoising_strength=0.75
        )
        assert "Denoising strength: 0.75" in done.result["infotexts"][0]
