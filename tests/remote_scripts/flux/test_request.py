"""A job's input is checked whole before anything is loaded."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.remote_scripts.flux.conftest import MODEL, an_input


def parse(document: object) -> Any:
    from flux.request import parse

    return parse(document)


def failure(document: object) -> Any:
    from worker.report import Failure

    with pytest.raises(Failure) as caught:
        parse(document)
    assert caught.value.code == "bad_input"
    assert caught.value.remedy
    return caught.value


def test_a_complete_input_is_read_as_it_stands() -> None:
    lora = {"source": "loras/a.safetensors", "weight": 0.8, "weight_name": None}
    request = parse(
        an_input(
            clip_prompt="fox",
            negative_prompt="blurry",
            jpeg_quality=90,
            engine="nf4",
            loras=[lora],
            init_image="inputs/a.png",
            strength=0.5,
        )
    )
    assert (request.width, request.height, request.steps, request.seed) == (128, 128, 4, 7)
    assert (request.prompt, request.clip_prompt) == ("a red fox in snow", "fox")
    assert (request.loras[0].source, request.loras[0].weight) == ("loras/a.safetensors", 0.8)
    assert request.model.licence_url == MODEL["licence_url"]
    assert (request.engine, request.strength) == ("nf4", 0.5)


def test_what_is_left_out_has_a_default() -> None:
    request = parse({"prompt": "x", "model": {"repo": "a/b", "pipeline": "FluxPipeline"}})
    assert (request.width, request.height, request.count, request.format) == (1024, 1024, 1, "png")
    assert (request.model.title, request.model.text_tokens) == ("a/b", 512)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": ""}, "the prompt is empty"),
        ({"prompt": " \n"}, "the prompt is empty"),
        ({"prompt": None}, "prompt is missing"),
        ({"prompt": 7}, "prompt is 7"),
        ({"width": 70}, "width 70 is not a multiple of 16"),
        ({"height": 32}, "height is 32"),
        ({"height": 8192}, "height is 8192"),
        ({"width": "128"}, "width is '128'"),
        ({"width": True}, "width is True"),
        ({"steps": 0}, "steps is 0"),
        ({"steps": 2.5}, "steps is 2.5"),
        ({"guidance": float("nan")}, "guidance is nan"),
        ({"guidance": -1}, "guidance is -1"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**63 - 1, "count": 2}, "the last image's seed would exceed 2^63-1"),
        ({"count": 0}, "count is 0"),
        ({"format": "gif"}, "format is 'gif'"),
        ({"jpeg_quality": 101}, "jpeg_quality is 101"),
        ({"engine": "turbo"}, "engine is 'turbo'"),
        ({"loras": {"source": "x"}}, "loras is {'source': 'x'}"),
        ({"loras": ["x"]}, "loras[0] is not an object"),
        ({"loras": [{"weight": 1}]}, "loras[0].source is missing"),
        ({"loras": [{"source": "x", "weight": "1"}]}, "loras[0].weight is '1'"),
        ({"init_image": "a.png", "strength": 0}, "strength 0 leaves the initial image as it is"),
        (
            {"init_image": "a.png", "model": {"img2img": None}},
            "FLUX.1 [dev] cannot start from an image",
        ),
        ({"model": {"pipeline": None}}, "model.pipeline is missing"),
        ({"model": {"repo": 3}}, "model.repo is 3"),
        ({"model": {"cache": "first-block"}}, "model.cache is 'first-block'"),
        ({"model": {"cache": "second-block:0.1"}}, "model.cache is 'second-block:0.1'"),
        ({"model": {"compile": "yes"}}, "model.compile is 'yes'"),
    ],
)
def test_a_bad_field_is_named_with_its_value(changes: dict[str, Any], message: str) -> None:
    assert failure(an_input(**changes)).message == message


def test_a_size_that_is_refused_comes_with_the_nearest_one_that_is_not() -> None:
    assert failure(an_input(width=1030)).remedy == "use 1024, the nearest one"


def test_an_input_that_is_no_object_is_refused() -> None:
    for document in (None, [], "prompt"):
        assert failure(document).message == "the input is not an object"
    assert failure({"prompt": "x"}).message == "model is missing"


def test_with_an_initial_image_the_first_steps_are_left_out() -> None:
    assert parse(an_input(steps=10)).planned_steps == 10
    for strength, planned in ((1.0, 10), (0.75, 8), (0.6, 6), (0.01, 1)):
        changes = {"steps": 10, "init_image": "a.png", "strength": strength}
        assert parse(an_input(**changes)).planned_steps == planned


@settings(max_examples=60)
@given(key=st.sampled_from([*an_input(), "loras", "strength", "init_image"]), value=st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
))  # fmt: skip
def test_no_value_of_any_field_gets_past_as_anything_but_a_request_or_a_bad_input(
    key: str, value: Any
) -> None:
    from flux.request import Request
    from worker.report import Failure

    document = copy.deepcopy(an_input())
    document[key] = value
    answer: Any = None
    try:
        answer = parse(document)
    except Failure as refused:
        answer = refused.code
    assert answer == "bad_input" or isinstance(answer, Request)
