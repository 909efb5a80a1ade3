"""What FLUX makes of a wish, and what it refuses before anything is started."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuctl import resources
from gpuctl.config_files import defaults
from gpuctl.errors import ConfigError, UsageError
from gpuctl.workloads import flux
from gpuctl.workloads.flux import Choices, Lora
from gpuctl.workloads.flux_models import Tables

SECTIONS = defaults(resources.bundled("config_defaults.yaml"), None)
TABLES = Tables(SECTIONS["models"], SECTIONS["presets"], SECTIONS["sizes"], SECTIONS["guidances"])
FOX = Choices(prompt="a red fox in snow", preset="balanced", size="square", seed=7)


@pytest.mark.parametrize(
    ("preset", "model", "expected"),
    [
        ("fast", None, ("flux-schnell", 4, 0.0)),
        ("fast", "flux-dev", ("flux-dev", 4, 3.5)),
        ("balanced", None, ("flux-dev", 20, 3.5)),
        ("quality", None, ("flux-dev", 50, 3.5)),
        ("quality", "flux-schnell", ("flux-schnell", 8, 0.0)),
        ("quality", "flux-krea", ("flux-krea", 50, 4.5)),
        ("balanced", "z-image-turbo", ("z-image-turbo", 9, 0.0)),
        ("balanced", "flux2-klein", ("flux2-klein", 4, 1.0)),
    ],
)
def test_presets_mean_steps_and_fast_means_schnell(
    preset: str, model: str | None, expected: tuple[str, int, float]
) -> None:
    request = flux.resolve(replace(FOX, preset=preset, model=model), TABLES)
    assert (request.model.name, request.steps, request.guidance) == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("portrait", (768, 1024)),
        ("landscape", (1024, 768)),
        ("square", (1024, 1024)),
        ("hd", (1280, 720)),
        ("4k", (3840, 2160)),
        ("640x480", (640, 480)),
        ("1000X700", (1008, 704)),
    ],
)
def test_sizes_by_name_and_by_number(size: str, expected: tuple[int, int]) -> None:
    request = flux.resolve(replace(FOX, size=size), TABLES)
    assert (request.width, request.height) == expected


def test_rounding_is_said() -> None:
    assert flux.resolve(replace(FOX, size="1000x700"), TABLES).notes == (
        "1000x700 was rounded to 1008x704 (multiples of 16)",
    )
    assert flux.resolve(FOX, TABLES).notes == ()


@given(st.integers(64, 2800), st.integers(64, 2800))
def test_every_size_is_a_multiple_of_16_near_what_was_asked(width: int, height: int) -> None:
    request = flux.resolve(replace(FOX, size=f"{width}x{height}"), TABLES)
    assert request.width % 16 == request.height % 16 == 0
    assert abs(request.width - width) <= 8
    assert abs(request.height - height) <= 8


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"prompt": "  "}, "the prompt is empty"),
        ({"prompt": "x" * 20_001}, "20001 characters"),
        ({"size": "big"}, "'big' is not a size"),
        ({"size": "10x10"}, "too small"),
        ({"size": "9000x9000"}, "megapixels"),
        ({"steps": 0}, "--steps must be between 1 and 200"),
        ({"guidance": 7.5}, "--guidance must be between 1 and 7"),
        ({"guidance": float("nan")}, "--guidance must be between 1 and 7"),
        ({"seed": -1}, "--seed must be between"),
        ({"count": 0}, "-n must be between 1 and 64"),
        ({"format": "bmp"}, "'bmp' is not a format"),
        ({"engine": "warp"}, "'warp' is not an engine"),
        ({"jpeg_quality": 101}, "--jpeg-quality"),
        ({"model": "flux-dve"}, "there is no model called 'flux-dve'"),
        ({"preset": "qualty"}, "there is no preset called 'qualty'"),
        ({"init_image": "inputs/a.png", "model": "flux2-klein"}, "cannot start from a picture"),
    ],
)
def test_what_cannot_be_painted_is_refused_by_name(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said.replace("(", r"\(")) as caught:
        flux.resolve(replace(FOX, **wrong), TABLES)  # type: ignore[arg-type]
    assert caught.value.exit_code == 2


def test_a_mistyped_model_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        TABLES.model("flux-dve")
    assert str(caught.value.hint).startswith("did you mean flux-dev?")


def test_a_model_is_added_by_a_row_and_a_bad_row_is_named() -> None:
    tables = replace(
        TABLES,
        models={
            "mine": {"repo": "me/mine", "pipeline": "FluxPipeline", "steps": 12, "clip_tokens": 77},
            "half": {"repo": "me/half"},
            "typo": {"repo": "a", "pipeline": "b", "stepz": 3},
        },
    )
    request = flux.resolve(replace(FOX, model="mine"), tables)
    assert (request.steps, request.model.title) == (12, "mine")
    with pytest.raises(ConfigError, match="needs at least repo and pipeline"):
        tables.model("half")
    with pytest.raises(ConfigError, match="unknown key stepz"):
        tables.model("typo")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("XLabs-AI/flux-RealismLora", Lora("XLabs-AI/flux-RealismLora")),
        ("XLabs-AI/flux-RealismLora:0.8", Lora("XLabs-AI/flux-RealismLora", 0.8)),
        ("./my.safetensors:-1", Lora("./my.safetensors", -1.0)),
        ("C:/loras/a.safetensors", Lora("C:/loras/a.safetensors")),
    ],
)
def test_loras_carry_their_weight(text: str, expected: Lora) -> None:
    assert flux.parse_lora(text) == expected


def test_the_order_travels_whole() -> None:
    request = flux.resolve(replace(FOX, loras=(Lora("a/b", 0.5),)), TABLES)
    sent = request.with_prompt("a fox, enhanced", "a fox").to_input()
    assert sent["prompt"] == "a fox, enhanced"
    assert sent["clip_prompt"] == "a fox"
    assert sent["model"]["repo"] == "black-forest-labs/FLUX.1-dev"
    assert sent["loras"] == [{"source": "a/b", "weight": 0.5}]


@pytest.mark.parametrize(
    ("prompt", "stem"),
    [
        ("A red fox, in *snow*!", "a-red-fox-in-snow-7"),
        ("../../etc/passwd", "etc-passwd-7"),
        ("🦊🦊", "picture-7"),
        ("赤い 狐", "赤い-狐-7"),
    ],
)
def test_file_names_are_short_and_safe(prompt: str, stem: str) -> None:
    assert flux.file_stem(prompt, 7) == stem
