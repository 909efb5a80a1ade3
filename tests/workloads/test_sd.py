"""What `gpuctl sd` makes of wishes: orders for Automatic1111, grids, tags, texts. All pure."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuctl.errors import UsageError
from gpuctl.services import sd_meter
from gpuctl.workloads import sd, sd_grid, sd_infotext, sd_prompt
from gpuctl.workloads.sd import Choices, Hires
from gpuctl.workloads.sd_prompt import Lora

NAMES = st.text("abcXYZ019_-.", min_size=1)


def order(**changes: Any) -> dict[str, Any]:
    return sd.resolve(Choices(**{"prompt": "a portrait", "seed": 7, **changes})).input


def test_a_plain_prompt_says_what_the_api_would_otherwise_assume() -> None:
    assert order() == {
        "caller": "gpuctl",
        "api": "txt2img",
        "prompt": "a portrait",
        "negative_prompt": "",
        "width": 512,
        "height": 512,
        "steps": 20,
        "cfg_scale": 7.0,
        "seed": 7,
        "count": 1,
    }


def test_lcm_is_the_seeds_recommendation_and_gives_way_to_what_is_said() -> None:
    lcm = order(lcm="lcm")
    assert lcm["prompt"] == "a portrait, <lora:lcm:1>"
    assert (lcm["steps"], lcm["cfg_scale"], lcm["sampler_name"]) == (8, 2.0, "LCM")
    mine = order(lcm="lcm", prompt="a portrait, <lora:lcm:0.8>", steps=4)
    assert mine["prompt"] == "a portrait, <lora:lcm:0.8>"
    assert (mine["steps"], mine["cfg_scale"]) == (4, 2.0)
    odd = sd.resolve(Choices("x", 1, lcm="lcm", steps=30, cfg=7.0)).notes
    assert len(odd) == 2


def test_hires_model_vae_clip_skip_and_set_become_keys_of_the_api() -> None:
    made = order(
        hires=Hires(scale=2, upscaler="ESRGAN_4x", strength=0.4),
        model="dreamshaper_8",
        vae="Automatic",
        clip_skip=2,
        settings={"tiling": True, "batch_size": 2},
        options={"eta_noise_seed_delta": 31337},
    )
    assert made["enable_hr"]
    assert (made["hr_scale"], made["hr_upscaler"], made["denoising_strength"]) == (
        2,
        "ESRGAN_4x",
        0.4,
    )
    assert made["override_settings"] == {
        "sd_model_checkpoint": "dreamshaper_8",
        "sd_vae": "Automatic",
        "CLIP_stop_at_last_layers": 2,
        "eta_noise_seed_delta": 31337,
    }
    assert (made["tiling"], made["batch_size"]) == (True, 2)
    assert order(hires=Hires(scale=None, size=(1000, 1500)))["hr_resize_x"] == 1000


def test_img2img_always_says_its_strength_because_the_forks_differ() -> None:
    made = order(initial="inputs/a.png", mask="inputs/b.png", prompt="in winter")
    assert made["api"] == "img2img"
    assert (made["init_files"], made["mask_file"]) == (["inputs/a.png"], "inputs/b.png")
    assert made["denoising_strength"] == 0.75


@pytest.mark.parametrize(
    "wrong",
    [
        {"prompt": " "},
        {"prompt": "x" * 20_001},
        {"size": (8, 512)},
        {"size": (5000, 512)},
        {"steps": 0},
        {"cfg": float("nan")},
        {"count": 65},
        {"seed": 2**32},
        {"strength": 1.1},
        {"clip_skip": 13},
        {"mask": "inputs/b.png"},
        {"initial": "inputs/a.png", "hires": Hires()},
        {"hires": Hires(scale=9)},
        {"prompt": "<lora:lcm:1> <lora:lcm:1>"},
        {"loras": (Lora("lcm"),), "prompt": "<lora:lcm:1>"},
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_starts(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        order(**wrong)


@settings(deadline=None)
@given(st.integers(1, 8192), st.integers(1, 8192))
def test_every_size_is_refused_or_rounded_to_the_nearest_eight(width: int, height: int) -> None:
    try:
        made = sd.resolve(Choices("x", 1, size=(width, height)))
    except UsageError:
        assert min(width, height) < 64 or max(width, height) > 4092
        return
    got = (made.input["width"], made.input["height"])
    assert all(side % 8 == 0 for side in got)
    assert abs(got[0] - width) <= 4
    assert abs(got[1] - height) <= 4
    assert bool(made.notes) == (got != (width, height))


@settings(deadline=None)
@given(NAMES, st.floats(-10, 10))
def test_a_lora_is_read_back_from_the_tag_it_makes(name: str, weight: float) -> None:
    lora = Lora(name, round(weight, 3))
    assert sd_prompt.parse_lora(lora.tag) == lora
    assert sd_prompt.loras(f"a cat, {lora.tag}, and more") == (lora,)
    assert sd_prompt.without_tags(f"a cat, {lora.tag}") == "a cat"


@settings(deadline=None)
@given(st.text(max_size=300))
def test_any_text_is_a_prompt_that_can_be_measured_or_is_refused(text: str) -> None:
    try:
        sd_prompt.loras(text)
    except UsageError:
        return
    assert sum(sd_meter.measure(text).sizes) == sd_meter.measure(text).tokens


@pytest.mark.parametrize("text", ["", ":1", "lcm:much", "lcm:nan", "lcm:inf", "lcm:11", "a>b"])
def test_a_lora_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        sd_prompt.parse_lora(text)


def test_a_weight_for_each_encoder_stays_in_the_prompt() -> None:
    assert sd_prompt.loras("<lora:lcm:0.8:0.5>, <lora:x:te=0.2>") == (
        Lora("lcm", 0.8),
        Lora("x", 0.2),
    )


# The meter.


def test_tags_brackets_and_weights_cost_no_tokens() -> None:
    assert sd_prompt.spoken(r"a (red:1.3) [cat] \(one\), <lora:lcm:0.8>") == r"a red cat (one)"
    assert (
        sd_meter.measure("a (red:1.3) cat, <lora:lcm:1>").tokens
        == sd_meter.measure("a red cat").tokens
    )


def test_chunks_hold_75_tokens_and_end_at_a_comma_that_is_near() -> None:
    assert sd_meter.measure("cat " * 75).sizes == (75,)
    assert sd_meter.measure("cat " * 76).sizes == (75, 1)
    assert sd_meter.measure("cat " * 69 + ", " + "dog " * 10).sizes == (70, 10)
    assert sd_meter.measure("cat " * 40 + ", " + "dog " * 40).sizes == (75, 6), "too far back"
    assert sd_meter.measure("cat BREAK dog").sizes == (1, 1)
    assert sd_meter.measure("").line() == "0/75 tokens"
    assert sd_meter.measure("cat " * 80).line() == "80/150 tokens in 2 chunks (75 + 5)"


# Grids.


def test_a_grid_paints_every_pair_once_row_by_row_with_one_seed() -> None:
    grid = sd_grid.parse(["cfg=2,4,7", "steps=8,20"])
    assert grid.columns == ["cfg 2", "cfg 4", "cfg 7"]
    assert grid.rows == ["steps 8", "steps 20"]
    cells = grid.cells(Choices("x", 7))
    found = [(cell.column, cell.row, cell.choices.cfg, cell.choices.steps) for cell in cells]
    assert found == [
        (0, 0, 2, 8),
        (1, 0, 4, 8),
        (2, 0, 7, 8),
        (0, 1, 2, 20),
        (1, 1, 4, 20),
        (2, 1, 7, 20),
    ]
    assert {cell.choices.seed for cell in cells} == {7}
    assert len({grid.name(cell) for cell in cells}) == 6


def test_a_grid_varies_the_weight_of_a_lora_and_names() -> None:
    grid = sd_grid.parse(["lora:style=0,0.5", "sampler=Euler a,LCM"])
    cells = grid.cells(Choices("x", 7, loras=(Lora("lcm"), Lora("style", 1))))
    assert cells[1].choices.loras == (Lora("lcm"), Lora("style", 0.5))
    assert [cell.choices.sampler for cell in cells] == ["Euler a", "Euler a", "LCM", "LCM"]
    assert sd_grid.parse(["clip-skip=1,2"]).cells(Choices("x", 1))[1].choices.clip_skip == 2


@pytest.mark.parametrize(
    "texts",
    [
        ["cfg"],
        ["cfg="],
        ["cfg=a"],
        ["cfg=nan"],
        ["steps=1.5"],
        ["stepz=1,2"],
        ["lora:=1"],
        ["cfg=1,1"],
        ["cfg=1,2", "cfg=3,4"],
        ["cfg=1", "steps=1", "seed=1"],
        ["seed=" + ",".join(map(str, range(101)))],
    ],
)
def test_a_grid_that_cannot_be_meant_is_refused(texts: list[str]) -> None:
    with pytest.raises(UsageError):
        sd_grid.parse(texts)


# Names and texts.


def test_files_are_named_by_words_seed_and_what_tells_them_apart() -> None:
    told = {"prompt": "A (red:1.2) hat, <lora:lcm:1>!"}
    png = {"name": "7-0.png", "seed": 7}
    assert sd.file_name({}, told, png) == ("a-red-hat-7", "png")
    assert sd.file_name({}, {**told, "cell": "cfg 2.5"}, png) == ("a-red-hat-7-cfg-2-5", "png")
    larger = sd.file_name({"api": "upscale"}, {"stem": "me"}, {"name": "upscaled.webp"})
    assert larger == ("me-large", "webp")


def test_the_line_under_a_job_says_what_the_webui_did() -> None:
    metrics = {"width": 512, "height": 768, "steps": 8, "sampler": "LCM", "scheduler": "Automatic",
               "model": "dreamshaper_8"}  # fmt: skip
    assert sd.summary(order(), metrics, 2) == [
        "2 pictures 512×768",
        "8 steps LCM Automatic on dreamshaper_8",
        "seed 7",
    ]
    assert sd.summary({"api": "loras"}, {}, 0) == ["done"]


def test_the_text_in_a_picture_is_read_back() -> None:
    found = sd_infotext.parse(
        "a cat, film: old\nand a dog\nNegative prompt: blurry,\nlow\n"
        "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, Seed: 9, "
        'Size: 512x768, Lora hashes: "lcm: ab, style: cd", Version: v1.9.3'
    )
    assert found.prompt == "a cat, film: old\nand a dog"
    assert found.negative == "blurry,\nlow"
    assert found.parameters["Lora hashes"] == "lcm: ab, style: cd"
    assert found.parameters["Schedule type"] == "Karras"
    assert found.number("CFG scale") == 7.5
    assert found.number("Version") is None


@settings(deadline=None)
@given(st.text(max_size=300))
def test_no_text_breaks_the_reading(text: str) -> None:
    found = sd_infotext.parse(text)
    assert isinstance(found.prompt, str)
