"""The meter says what each encoder sees, and which words one of them will not."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from gpuctl import config, resources
from gpuctl.errors import NotFound, UsageError
from gpuctl.services import prompts

LONG = " ".join(["lighthouse"] * 89)


def test_a_short_prompt_is_seen_whole_by_both() -> None:
    meter = prompts.meter("a photo of a cat", clip_limit=77, text_limit=512)
    assert meter.line() == "CLIP 7/77 · T5 ≈8/512"
    assert (meter.clip_prompt, meter.clip_dropped) == ("a photo of a cat", "")
    assert not meter.text_over


def test_a_long_prompt_is_shortened_for_clip_alone_and_the_lost_words_are_named() -> None:
    meter = prompts.meter(LONG, clip_limit=77, text_limit=512)
    assert meter.line() == "CLIP 77/77 (−14) · T5 ≈197/512"
    assert meter.clip_prompt == " ".join(["lighthouse"] * 75)
    assert meter.clip_dropped == " ".join(["lighthouse"] * 14)


def test_a_pipeline_without_clip_has_nothing_to_shorten() -> None:
    meter = prompts.meter(LONG, clip_limit=None, text_limit=512)
    assert (meter.clip_prompt, meter.clip_tokens, meter.clip_dropped) == (None, None, "")
    assert meter.line() == "text ≈197/512"


def test_more_than_the_text_encoder_reads_is_said() -> None:
    assert prompts.meter("fox " * 400, clip_limit=77, text_limit=512).text_over
    assert prompts.meter("x" * 10_000, clip_limit=77, text_limit=512).text_over


def test_the_prompt_comes_from_the_argument_stdin_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "prompt.txt"
    file.write_text("from a file 🦊\n", encoding="utf-8")
    assert prompts.read_prompt("as 'given' $(x)", None, io.StringIO()) == "as 'given' $(x)"
    assert prompts.read_prompt("-", None, io.StringIO("two\nlines\n")) == "two\nlines"
    assert prompts.read_prompt(None, file, io.StringIO()) == "from a file 🦊"


@pytest.mark.parametrize(
    ("prompt", "file"), [(None, None), ("a", Path("b")), ("  ", None), ("-", None)]
)
def test_no_prompt_or_two_is_a_usage_error(prompt: str | None, file: Path | None) -> None:
    with pytest.raises(UsageError):
        prompts.read_prompt(prompt, file, io.StringIO("\n"))


def test_a_prompt_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"none\.txt"):
        prompts.read_prompt(None, tmp_path / "none.txt", io.StringIO())


def test_the_limits_are_those_of_the_model(tmp_path: Path) -> None:
    settings = config.load(
        schema=resources.bundled("config_defaults.yaml"),
        cache_folder=None,
        environ={},
        project_folder=tmp_path,
        user_config=tmp_path / "none.yaml",
    )
    assert prompts.limits_of(settings) == prompts.Limits("flux-dev", 77, 512)
    assert prompts.limits_of(settings, "z-image-turbo").clip is None
    with pytest.raises(UsageError, match="flux-dv"):
        prompts.limits_of(settings, "flux-dv")
