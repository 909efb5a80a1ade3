"""Every field of a job and all that can be wrong with it; the variables of the environment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tts import config, emotions
from tts.request import parse, unknown_keys
from worker.report import Failure


def refused(**given: Any) -> Failure:
    with pytest.raises(Failure) as caught:
        parse({"text": "Hello.", **given})
    assert caught.value.code == "bad_input"
    assert caught.value.remedy
    return caught.value


def test_the_seeds_example_is_taken_with_the_seeds_defaults() -> None:
    request = parse(
        {
            "text": "Hello world",
            "speaker_voice": "my_voice.wav",
            "emo_vector": [0, 0, 0, 0, 0, 0, 0, 1],
            "emo_alpha": 0.5,
            "enable_chunking": True,
            "max_chars_per_chunk": 300,
            "enable_crossfade": True,
            "crossfade_ms": 100,
        }
    )
    assert (request.format, request.bitrate_kbps, request.crossfade_ms) == ("ogg", 128, 100)
    assert request.enable_crossfade
    assert not parse({"text": "a"}).enable_crossfade
    assert parse({"text": "a"}).enable_chunking


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"text": None}, "text is missing"),
        ({"text": 7}, "text is 7"),
        ({"text": ""}, "nothing that can be spoken"),
        ({"text": " …!? "}, "nothing that can be spoken"),
        ({"text": "x" * 10_001}, "text has 10001 characters"),
        ({"speaker_voice": 3}, "speaker_voice is 3"),
        ({"emo_audio_prompt": ["a"]}, "emo_audio_prompt is ['a']"),
        ({"emo_vector": [0.1] * 7}, "not a list of 8 numbers"),
        ({"emo_vector": "happy"}, "not a list of 8 numbers"),
        ({"emo_vector": [0] * 7 + [float("nan")]}, "nan for calm"),
        ({"emo_vector": [float("inf")] + [0] * 7}, "inf for happy"),
        ({"emo_vector": [0, -0.1] + [0] * 6}, "-0.1 for angry"),
        ({"emo_vector": [0, 0, 1.2] + [0] * 5}, "1.2 for sad"),
        ({"emo_vector": [True] + [0] * 7}, "True for happy"),
        ({"emo_vector": ["1"] + [0] * 7}, "'1' for happy"),
        ({"emo_alpha": 1.01}, "emo_alpha is 1.01"),
        ({"emo_alpha": float("nan")}, "emo_alpha is nan"),
        ({"emo_text": "x" * 1001}, "emo_text has 1001"),
        ({"enable_chunking": "yes"}, "enable_chunking is 'yes'"),
        ({"max_chars_per_chunk": 49}, "max_chars_per_chunk is 49"),
        ({"max_chars_per_chunk": 1001}, "max_chars_per_chunk is 1001"),
        ({"max_chars_per_chunk": 50.5}, "max_chars_per_chunk is 50.5"),
        ({"enable_crossfade": 1}, "enable_crossfade is 1"),
        ({"crossfade_ms": -1}, "crossfade_ms is -1"),
        ({"crossfade_curve": "sine"}, "crossfade_curve is 'sine'"),
        ({"lang": "FR"}, "lang is 'FR'"),
        ({"speed": 0.4}, "speed is 0.4"),
        ({"speed": 2.1}, "speed is 2.1"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**32}, "seed is 4294967296"),
        ({"format": "aac"}, "format is 'aac'"),
        ({"bitrate_kbps": 8}, "bitrate_kbps is 8"),
        ({"session_id": "../x"}, "session_id is '../x'"),
        ({"session_id": "a/b"}, "session_id is 'a/b'"),
        ({"session_id": ".hidden"}, "session_id is '.hidden'"),
        ({"redo": [{"chunk": 2, "seed": 1}]}, "redo asks for chunk 2"),
        ({"redo": [{"chunk": 0}]}, "chunk is 0"),
        ({"redo": "1"}, "redo is '1'"),
        ({"text": "say <a|" + "B " * 30 + "> now", "max_chars_per_chunk": 50}, "the markup <a|B"),
    ],
)
def test_what_is_wrong_is_named_with_its_field(given: dict[str, Any], named: str) -> None:
    assert named in refused(**given).message


def test_nan_that_came_as_json_is_refused_too() -> None:
    given = json.loads('{"emo_vector": [NaN, 0, 0, 0, 0, 0, 0, 0]}')
    assert "nan for happy" in refused(**given).message


@pytest.mark.parametrize("document", [None, [], "text", 3])
def test_an_input_that_is_no_object_is_refused(document: object) -> None:
    with pytest.raises(Failure, match="not an object"):
        parse(document)


def test_ten_thousand_characters_are_still_taken() -> None:
    assert len(parse({"text": "Word. " * 1666 + "Last"}).text) == 10_000


def test_a_misspelt_field_does_not_pass_unnoticed() -> None:
    assert unknown_keys({"text": "a", "speeker_voice": "me"}) == ["speeker_voice"]


def test_an_emotion_described_in_words_is_milder_unless_said_otherwise() -> None:
    assert parse({"text": "a", "emo_text": "sad"}).emo_alpha == 0.6
    assert parse({"text": "a", "emo_text": "sad", "emo_alpha": 1}).emo_alpha == 1.0
    assert parse({"text": "a"}).emo_alpha == 1.0


def test_an_emotion_vector_is_biased_and_scaled_to_what_the_model_bears() -> None:
    mild, was_scaled = emotions.tamed([0.4, 0, 0, 0, 0, 0, 0, 0.2])
    assert mild == pytest.approx((0.375, 0, 0, 0, 0, 0, 0, 0.1125))
    assert not was_scaled
    strong, was_scaled = emotions.tamed([1.0] * 8)
    assert sum(strong) == pytest.approx(0.8)
    assert was_scaled
    assert strong[2] / strong[6] == pytest.approx(1 / 0.6875)


@pytest.mark.parametrize(
    ("given", "without_effect"),
    [
        ((True, True, True), ["emo_vector", "emo_audio_prompt"]),
        ((False, True, True), ["emo_audio_prompt"]),
        ((True, False, False), []),
    ],
)
def test_text_goes_before_vector_and_vector_before_audio(
    given: tuple[bool, bool, bool], without_effect: list[str]
) -> None:
    text, vector, audio = given
    assert without_effect == emotions.overruled(has_text=text, has_vector=vector, has_audio=audio)


def environment(**variables: str) -> config.Config:
    return config.from_environment(variables, Path("/workspace"))


def test_the_seeds_folders_and_switches_are_the_defaults() -> None:
    found = environment()
    assert found.voices_dir == Path("/workspace/indextts/audio_voices")
    assert found.checkpoints_dir == Path("/workspace/indextts/checkpoints")
    assert (found.version, found.max_tokens_per_segment, found.cleanup_days) == ("2", 120, 2.0)
    assert (found.use_fp16, found.use_deepspeed, found.uploads) == (False, False, False)
    assert found.use_cuda_kernel is None
    assert environment(INDEXTTS_VERSION="2.5").checkpoints_dir.name == "checkpoints_2_5"


def test_every_variable_of_the_seed_is_heard() -> None:
    found = environment(
        S3_ENDPOINT_URL="https://s3.example.org",
        S3_ACCESS_KEY_ID="a",
        S3_SECRET_ACCESS_KEY="b",
        S3_BUCKET_NAME="c",
        AUDIO_VOICES_DIR="/v",
        OUTPUT_AUDIO_DIR="/o",
        CHECKPOINTS_DIR="/c",
        USE_FP16="true",
        USE_DEEPSPEED="1",
        USE_CUDA_KERNEL="false",
        MAX_TOKENS_PER_SEGMENT="100",
        CLEANUP_DAYS="0.5",
    )
    folders = (found.voices_dir, found.output_dir, found.checkpoints_dir)
    assert folders == (Path("/v"), Path("/o"), Path("/c"))
    assert (found.use_fp16, found.use_deepspeed, found.use_cuda_kernel) == (True, True, False)
    assert (found.max_tokens_per_segment, found.cleanup_days) == (100, 0.5)
    assert found.uploads


def test_the_seeds_800_tokens_are_beyond_the_models_table_and_that_is_said() -> None:
    found = environment(MAX_TOKENS_PER_SEGMENT="800")
    assert found.max_tokens_per_segment == 120
    assert "800 exceeds the model's table" in found.notes[0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("USE_FP16", "maybe"),
        ("INDEXTTS_VERSION", "3"),
        ("MAX_TOKENS_PER_SEGMENT", "many"),
        ("MAX_TOKENS_PER_SEGMENT", "nan"),
        ("CLEANUP_DAYS", "-1"),
        ("AUDIO_VOICES_DIR", "voices"),
        ("S3_ENDPOINT_URL", "s3.example.org"),
        ("S3_URL_EXPIRES_S", "700000"),
    ],
)
def test_a_variable_that_cannot_be_meant_is_named(name: str, value: str) -> None:
    with pytest.raises(Failure) as caught:
        environment(**{"S3_BUCKET_NAME": "c", name: value})
    assert name in caught.value.message
    assert caught.value.remedy


def test_keys_without_a_bucket_are_named_instead_of_ignored() -> None:
    with pytest.raises(Failure, match="S3_ACCESS_KEY_ID is set, but not S3_BUCKET_NAME"):
        environment(S3_ACCESS_KEY_ID="a")
