"""Tags and pictures, whatever is sent: an answer or a named refusal, never a crash."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tests.remote_scripts.sd.conftest  # noqa: F401  puts remote_scripts on the path
from tests.support.a1111_server import as_text, picture

NAMES = st.text("abcXYZ019_-. ", min_size=1).map(str.strip).filter(bool)


@settings(deadline=None)
@given(st.lists(st.tuples(NAMES, st.floats(-10, 10))), st.text("abc, <>:()"))
def test_every_lora_of_a_prompt_is_found_with_its_weight(
    named: list[tuple[str, float]], words: str
) -> None:
    from sd.lora_tags import tags

    quiet = words.replace("<", "").replace(">", "")
    prompt = quiet + ", ".join(f"<lora:{name}:{weight!r}>" for name, weight in named) + quiet
    assert [(tag.name, tag.weight) for tag in tags(prompt)] == named


@settings(deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_a_prompt_or_is_refused_by_name(prompt: str) -> None:
    from sd.lora_tags import tags

    assert refusal(lambda: tags(prompt)) in (None, "bad_input")


@pytest.mark.parametrize("format_name", ["PNG", "JPEG", "WEBP", "GIF"])
@settings(max_examples=20, deadline=None)
@given(width=st.integers(1, 300), height=st.integers(1, 300))
def test_a_size_read_from_the_head_is_the_size(format_name: str, width: int, height: int) -> None:
    from sd.inputs import size_of

    assert size_of(picture(width, height, format_name)) == (width, height)


def test_a_lossless_webp_and_a_progressive_jpeg_have_sizes_too() -> None:
    from PIL import Image

    from sd.inputs import size_of

    for options in ({"format": "WEBP", "lossless": True}, {"format": "JPEG", "progressive": True}):
        buffer = io.BytesIO()
        Image.new("RGB", (123, 45)).save(buffer, **options)
        assert size_of(buffer.getvalue()) == (123, 45)


@settings(deadline=None)
@given(
    st.binary(max_size=300), st.sampled_from(["PNG", "JPEG", "WEBP", "GIF"]), st.integers(0, 200)
)
def test_damaged_pictures_are_refused_or_measured(noise: bytes, kind: str, cut: int) -> None:
    from sd import inputs

    for data in (noise, picture(8, 8, kind)[:cut] + noise):
        code = refusal(lambda data=data: inputs.from_text(as_text(data), "init_images[0]"))
        assert code in (None, "bad_input")


@settings(deadline=None)
@given(st.integers(1, 9000), st.integers(1, 9000))
def test_a_size_is_refused_with_one_that_would_be_taken(width: int, height: int) -> None:
    from sd.features import Features
    from sd.request import generation

    order = {"prompt": "x", "steps": 1, "width": width, "height": height}
    bodies: list[dict[str, Any]] = []
    code = refusal(lambda: bodies.append(generation("txt2img", order, Features()).body))
    assert code in (None, "bad_input")
    assert all(body["width"] % 8 == body["height"] % 8 == 0 for body in bodies)


def refusal(call: Callable[[], object]) -> str | None:
    """The code of the Failure that `call` raises; None when it raises none."""
    from worker.report import Failure

    try:
        call()
    except Failure as failure:
        return failure.code
    return None
