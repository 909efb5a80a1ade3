"""What `gpuctl video` may be asked for, and what becomes of it. Pure."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuctl.errors import UsageError
from gpuctl.workloads import video
from gpuctl.workloads.video import Lora, Wishes

SIDES = st.integers(1, 20_000)


def wishes(**changes: Any) -> Wishes:
    return Wishes(**{"image": "inputs/a.png", "picture": (300, 400), "prompt": "waves", **changes})


@given(SIDES, SIDES, st.sampled_from(sorted(video.AREAS)))
def test_any_picture_gives_a_size_that_the_model_can_do(width: int, height: int, area: str) -> None:
    found = video.resolve(wishes(picture=(width, height), area=area)).input
    for side in (found["width"], found["height"]):
        assert side % 16 == 0
        assert video.LEAST_SIDE <= side <= video.MOST_SIDE
    if 0.3 < width / height < 3.3:
        assert abs(found["width"] / found["height"] / (width / height) - 1) < 0.06


@given(st.integers(16, 9999), st.integers(16, 9999), st.integers(1, video.MOST_FRAMES))
def test_any_size_and_length_becomes_a_valid_one_and_changes_are_told(
    width: int, height: int, frames: int
) -> None:
    found = video.resolve(wishes(size=(width, height), frames=frames))
    assert found.input["width"] % 16 == found.input["height"] % 16 == 0
    assert found.input["frames"] % 4 == 1
    is_resized = (found.input["width"], found.input["height"]) != (width, height)
    assert len(found.notes) == is_resized + (found.input["frames"] != frames)


@given(st.floats(0.1, 15.0))
def test_seconds_become_the_nearest_length_at_sixteen_a_second(seconds: float) -> None:
    frames = video.resolve(wishes(seconds=seconds)).input["frames"]
    assert frames % 4 == 1
    assert abs(frames - seconds * 16) <= 4
    assert video.resolve(wishes(seconds=5)).input["frames"] == 81


def test_client_and_worker_round_alike() -> None:
    """They are written twice, because neither imports the other."""
    import sys

    from gpuctl.resources import bundled

    if str(bundled("remote_scripts")) not in sys.path:
        sys.path.insert(0, str(bundled("remote_scripts")))
    from video import geometry

    for pixels in range(1, 2500, 7):
        assert geometry.side(pixels) == video.side(pixels)
    for number in range(1, 300):
        assert geometry.frames(number) == video.frames(number)
    assert video.AREAS == geometry.AREAS
    assert video.fitted((300, 400), video.AREAS["720p"]) == geometry.fitted(
        (300, 400), geometry.AREAS["720p"]
    )


def test_a_workflow_of_ones_own_keeps_its_size_and_length_unless_asked() -> None:
    own = {"1": {"class_type": "X", "inputs": {}}}
    found = video.resolve(wishes(workflow=own, prompt="")).input
    assert not {"width", "height", "frames"} & set(found)
    assert video.resolve(wishes(workflow=own, frames=9)).input["frames"] == 9


@pytest.mark.parametrize(
    ("text", "lora"),
    [
        ("h.safetensors,l.safetensors", Lora("h.safetensors", "l.safetensors")),
        ("h.safetensors,l.safetensors:0.8,0.5", Lora("h.safetensors", "l.safetensors", 0.8, 0.5)),
        ("both.safetensors:0.7", Lora("both.safetensors", "both.safetensors", 0.7, 0.7)),
        ("h.safetensors,", Lora("h.safetensors", None)),
        (
            "https://a.example/h.safetensors,l.gguf:1,0.5",
            Lora("https://a.example/h.safetensors", "l.gguf", 1.0, 0.5),
        ),
    ],
)
def test_a_lora_is_a_pair_with_weights(text: str, lora: Lora) -> None:
    assert video.parse_lora(text) == lora


def test_an_address_becomes_a_url_field_and_a_name_a_file() -> None:
    found = video.parse_lora("https://a.example/h.safetensors,l.safetensors").to_json()
    assert found["high_url"] == "https://a.example/h.safetensors"
    assert found["low"] == "l.safetensors"
    assert "high" not in found


@pytest.mark.parametrize("text", ["", ",", "a.ckpt,b.ckpt", "a,b,c", "x.pt"])
def test_what_is_no_pair_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        video.parse_lora(text)


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": "  "},
        {"prompt": "x" * 30_000},
        {"preset": "best"},
        {"seconds": 5, "frames": 81},
        {"frames": 1000},
        {"steps": 0},
        {"cfg": -1.0},
        {"seed": -1},
        {"loras": (Lora("a.safetensors", None),) * 5},
    ],
)
def test_what_the_model_cannot_do_is_refused_before_anything_is_started(
    changes: dict[str, Any],
) -> None:
    with pytest.raises(UsageError) as refused:
        video.resolve(wishes(**changes))
    assert refused.value.message


def test_the_name_of_a_file_says_what_it_shows() -> None:
    told = {"prompt": "The tide, at LAST, comes in over the sand"}
    artifact = {"name": "7-0.mp4", "seed": 7}
    assert video.file_name({}, told, artifact) == ("the-tide-at-last-comes-in-7", "mp4")
    assert video.file_name({}, {**told, "part": 2}, artifact)[0].endswith("-7-part2")
    assert video.file_name({}, {}, {"name": "../../x", "seed": 1}) == ("video-1", "mp4")


def test_the_container_is_told_the_token_and_nothing_that_is_not_set() -> None:
    assert video.environment({"token": None, "server_address": None}) == {}
    told = video.environment({"token": "t", "server_address": "10.0.0.9"})
    assert told == {"SERVICE_TOKEN": "t", "SERVER_ADDRESS": "10.0.0.9"}


def test_the_machine_is_tried_with_a_film_that_its_own_handler_takes() -> None:
    from video.request import parse

    given_ = video.canary_input({})
    assert given_ is not None
    request = parse(given_)
    assert (request.frames, request.notes) == (5, ())
