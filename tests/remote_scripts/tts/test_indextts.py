"""The real engine against classes with IndexTTS's very signatures, whose speech is measured."""

from __future__ import annotations

import inspect
import os
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.remote_scripts.tts.conftest import RATE, Desk, decoded

pytestmark = pytest.mark.ffmpeg
MODULES = {"2": "infer_v2", "2.5": "infer_v2_5"}
LONG = (
    "The first sentence has some words. The second one, which is longer, has a few more of them; "
    "it goes on. A third is short. And the very last one of them ends the whole text."
)


def measured() -> Any:
    """What the stand-in noted. It is imported by the engine, from the folder of the tests."""
    return import_module("indextts.measured_speech")


@pytest.fixture(params=["2", "2.5"])
def version(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("INDEXTTS_VERSION", request.param)
    return str(request.param)


def test_the_model_is_called_by_keyword_as_its_signature_wants(
    stand_in: Desk, version: str
) -> None:
    from tts import config, engine, indextts_engine, voices

    settings = config.from_environment(os.environ, stand_in.workspace)
    delivery = engine.Delivery(
        voices.prepare("me", "speaker_voice", settings), "EN", speed=1.25, emo_vector=(0.1,) * 8
    )
    made = indextts_engine.IndexTtsEngine(settings)
    kind = import_module(f"indextts.{MODULES[version]}").IndexTTS2
    bound = inspect.signature(kind.infer).bind(None, **made.arguments("Hello.", delivery))
    assert bound.arguments["max_text_tokens_per_segment"] == 120
    assert bound.arguments["output_path"] is None
    assert "generation_kwargs" not in bound.arguments, "nothing is passed that it does not know"
    inspect.signature(kind).bind(**made.switches())


def test_each_version_gets_its_own_precision_language_and_speed(
    stand_in: Desk, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USE_FP16", "true")
    done = stand_in.run(text="Hello there, you.", speed=2.0)
    (built,), (called,) = measured().built, measured().called
    half = {"2": "use_fp16", "2.5": "use_bf16"}[version]
    assert built[half] is True
    assert built["use_qwen_emo"] is True
    assert Path(built["cfg_path"]).is_absolute()
    if version == "2.5":
        assert (called["lang"], called["duration_factor"]) == ("EN", 0.5)
    # Twice as fast either way: by the model itself, or by ffmpeg after it.
    spoken = measured().made[0]["sound_s"]
    expected = spoken if version == "2.5" else spoken / 2
    assert done.metrics["audio_s"] == pytest.approx(expected + 0.03, abs=0.06)
    assert done.metrics["model_sample_rate"] == RATE


def test_the_model_is_loaded_once_and_told_where_it_is(stand_in: Desk, version: str) -> None:
    first, second = stand_in.run(), stand_in.run(text="Another one.")
    assert len(measured().built) == 1
    assert [e["stage"] for e in first.events if e["event"] == "loading"] == ["model"]
    assert second.metrics["load_s"] == 0
    assert second.metrics["device"] == "cpu"


def test_the_module_is_imported_where_its_cache_shall_lie(
    stand_in: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """infer_v2_5 names its cache relative to the current folder (workloads.md §1.5)."""
    monkeypatch.setenv("INDEXTTS_VERSION", "2.5")
    stand_in.run()
    assert stand_in.home / "src" == import_module("indextts.infer_v2_5").IMPORTED_IN


def test_the_same_seed_gives_the_same_speech_and_another_seed_another(
    stand_in: Desk, version: str
) -> None:
    def heard(seed: int) -> str:
        for path in stand_in.home.glob("output_audio/takes/*/*"):
            path.unlink()
        return str(stand_in.run(text=LONG, seed=seed, format="wav").artifact["sha256"])

    assert heard(5) == heard(5) != heard(6)


def test_the_model_gets_voices_by_content_and_an_emotion_of_the_right_size(
    stand_in: Desk,
) -> None:
    stand_in.run(emo_vector=[1, 0, 0, 0, 0, 0, 0, 1], emo_alpha=0.7)
    stand_in.run(emo_audio_prompt="me", emo_alpha=0.5)
    stand_in.run(emo_text="very sad")
    by_vector, by_audio, by_text = measured().called
    digest = Path(by_vector["spk_audio_prompt"]).stem
    assert len(digest) == 64
    assert sum(by_vector["emo_vector"]) == pytest.approx(0.8)
    assert (by_vector["use_emo_text"], by_vector["emo_alpha"]) == (False, 0.7)
    assert Path(by_audio["emo_audio_prompt"]).stem == digest
    assert by_audio["emo_vector"] is None
    assert (by_text["use_emo_text"], by_text["emo_text"], by_text["emo_alpha"]) == (
        True,
        "very sad",
        0.6,
    )


def test_an_emotion_in_words_needs_the_emotion_model(
    stand_in: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USE_QWEN_EMO", "false")
    assert "USE_QWEN_EMO" in stand_in.run(emo_text="sad").failure["remedy"]
    stand_in.run()
    assert measured().built[0]["use_qwen_emo"] is False


def test_every_sound_of_every_chunk_is_in_the_finished_speech(stand_in: Desk, version: str) -> None:
    """Nothing eaten at a join: each chunk is as long as it was spoken, its last hiss included."""
    done = stand_in.run(text=LONG, max_chars_per_chunk=50, format="wav")
    parts, made = done.metrics["chunks"], measured().made
    assert len(parts) == len(made) >= 4
    for part, spoken in zip(parts, made, strict=True):
        length = part["end_s"] - part["start_s"]
        assert length >= spoken["sound_s"]
        # A margin of 15 ms on either side, and a frame of 5 ms.
        assert length <= spoken["sound_s"] + 0.045


def test_chunks_of_unlike_loudness_are_evened_out(stand_in: Desk, version: str) -> None:
    from tts import joining

    done = stand_in.run(text=LONG, max_chars_per_chunk=50, format="wav")
    spoken = [20 * np.log10(made["level"]) for made in measured().made]
    assert max(spoken) - min(spoken) > 3, "the stand-in speaks at unlike levels"
    whole = decoded(done.path)
    levels = []
    for part in done.metrics["chunks"]:
        start, end = round(part["start_s"] * RATE), round(part["end_s"] * RATE)
        levels.append(20 * np.log10(joining.loudness(whole[start:end], RATE)))
    assert max(levels) - min(levels) < 1.0


def test_no_join_clicks_and_pauses_follow_the_punctuation(stand_in: Desk, version: str) -> None:
    done = stand_in.run(text=LONG, max_chars_per_chunk=50, format="wav")
    whole = decoded(done.path)
    parts = done.metrics["chunks"]
    for before, after in pairwise(parts):
        end, start = round(before["end_s"] * RATE), round(after["start_s"] * RATE)
        around = whole[end - 200 : start + 200]
        inside = whole[round(before["start_s"] * RATE) : end]
        assert np.abs(np.diff(around)).max() <= np.abs(np.diff(inside)).max()
        pause_ms = (after["start_s"] - before["end_s"]) * 1000
        is_sentence = before["text"][-1] in ".!?"
        low, high = (150, 250) if is_sentence else (60, 120)
        assert low - 1 <= pause_ms <= high + 1, before["text"]


def test_a_chunk_that_the_model_does_not_say_fails_by_name(stand_in: Desk) -> None:
    failure = stand_in.run(text="Mute this.").failure
    assert "said nothing" in failure["message"]
    assert "seed" in failure["remedy"]


def test_version_2_refuses_what_it_cannot_speak(stand_in: Desk) -> None:
    done = stand_in.run(text="これはテストです。")
    failure = done.failure
    assert failure["code"] == "unsupported"
    assert not [event for event in done.events if event["event"] == "loading"], "not after minutes"
    assert "INDEXTTS_VERSION=2.5" in failure["remedy"]


def test_a_machine_without_model_or_package_names_the_script_that_brings_it(
    stand_in: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    (stand_in.home / "checkpoints/config.yaml").unlink()
    failure = stand_in.run().failure
    assert (failure["code"], "bootstrap.sh" in failure["remedy"]) == ("model_missing", True)
    (stand_in.home / "checkpoints/config.yaml").touch()
    monkeypatch.setattr("tts.indextts_engine.MODULES", {"2": "indextts.no_such_module"})
    assert "is not installed" in stand_in.run().failure["message"]


def test_an_older_tag_without_a_switch_is_built_without_it(
    stand_in: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """v2.0.0 knows no use_qwen_emo."""
    import indextts.infer_v2 as module  # type: ignore[import-not-found]

    class Older(module.IndexTTS2):  # type: ignore[misc]
        def __init__(self, cfg_path: str, model_dir: str, use_fp16: bool = False) -> None:
            pass

    monkeypatch.setattr(module, "IndexTTS2", Older)
    done = stand_in.run()
    assert done.artifact
    assert "has no use_qwen_emo" in done.said()
