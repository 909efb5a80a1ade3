"""What `gpuctl tts` makes of the operator's wishes, before anything is started."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpuctl import resources
from gpuctl.config_files import defaults
from gpuctl.errors import NotFound, UsageError
from gpuctl.models import JobRecord
from gpuctl.services import speech_chunks, speech_orders, speech_timings
from gpuctl.services.speech_orders import Redo
from gpuctl.services.voices import Library, Voice
from gpuctl.state import State
from gpuctl.workloads import tts

SECTION = defaults(resources.bundled("config_defaults.yaml"), None)["tts"]
WISHES = tts.Wishes("Hello there.", "inputs/abc.wav")
TEXT = "The first sentence is here. The second one follows, as it should. And a third ends it."


def test_a_plain_wish_becomes_the_workers_input() -> None:
    assert tts.resolve(WISHES) == {
        "text": "Hello there.",
        "speaker_voice": "inputs/abc.wav",
        "seed": 0,
        "lang": "auto",
        "speed": 1.0,
        "format": "ogg",
        "max_chars_per_chunk": 300,
        "bitrate_kbps": 128,
    }


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (("happy:0.6",), {"happy": 0.6}),
        (("sad",), {"sad": 0.6}),
        (("Sad:1", "calm:0.25"), {"sad": 1.0, "calm": 0.25}),
        (("happy:0.1, surprised:0.2",), {"happy": 0.1, "surprised": 0.2}),
    ],
)
def test_emotions_by_name_become_eight_numbers_in_the_models_order(
    texts: tuple[str, ...], expected: dict[str, float]
) -> None:
    vector = tts.emotion_vector(texts)
    assert len(vector) == 8
    found = {name: value for name, value in zip(tts.EMOTIONS, vector, strict=True) if value}
    assert found == expected


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"text": "…"}, "nothing that can be spoken"),
        ({"text": "x" * 10_001}, "10001 characters"),
        ({"format": "aac"}, "--format aac"),
        ({"lang": "FR"}, "--lang FR"),
        ({"speed": 0.1}, "--speed"),
        ({"seed": -1}, "--seed"),
        ({"bitrate_kbps": 8}, "bitrate"),
        ({"max_chars_per_chunk": 49}, "--max-chars"),
        ({"emotions": ("glad:0.5",)}, "no emotion 'glad'"),
        ({"emotions": ("happy:2",)}, "happy:2"),
        ({"emotions": ("happy:nan",)}, "happy:nan"),
        ({"emotions": ("sad",), "emotion_text": "sad"}, "exclude each other"),
        ({"emotion_audio": "inputs/x.wav", "emotion_text": "sad"}, "exclude each other"),
        ({"emotion_text": " "}, "--emotion-text is empty"),
        ({"emotion_strength": 1.5}, "--emotion-strength"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_its_flag(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError) as caught:
        tts.resolve(replace(WISHES, **changes))
    assert named in caught.value.message


def test_the_limits_here_are_those_of_the_worker() -> None:
    """Two lists of one thing: what is refused here is what would be refused there."""
    import sys

    scripts = str(resources.bundled("remote_scripts"))
    if scripts not in sys.path:
        sys.path.insert(0, scripts)
    from tts import config, emotions, request, voices

    assert request.MAX_CHARACTERS == tts.MAX_CHARACTERS
    assert request.MAX_SEED == tts.MAX_SEED
    assert request.LANGUAGES == tts.LANGUAGES
    assert request.FORMATS == tts.FORMATS
    assert emotions.NAMES == tts.EMOTIONS
    assert voices.TONE == tts.NOBODYS_VOICE
    told = tts.environment({**SECTION, "cuda_kernel": "false"})
    read = config.from_environment(told, Path("/workspace"))
    assert (read.version, read.use_cuda_kernel, read.cleanup_days) == ("2", False, 2.0)
    asked = tts.resolve(replace(WISHES, emotions=("happy:0.3",), redo={1: 7}, emotion_strength=0.5))
    assert request.unknown_keys(asked) == []
    assert request.parse(asked).redo == {1: 7}
    canary = tts.canary_input(SECTION)
    assert canary
    assert request.parse(canary).speaker_voice == tts.NOBODYS_VOICE


@given(st.text(max_size=600), st.integers(50, 1000))
@settings(max_examples=40, deadline=None)
def test_chunks_shown_here_are_the_chunks_spoken_there(text: str, limit: int) -> None:
    import sys

    scripts = str(resources.bundled("remote_scripts"))
    if scripts not in sys.path:
        sys.path.insert(0, scripts)
    from tts import chunking

    try:
        there = [chunk.text.strip() for chunk in chunking.chunks(text, limit)]
    except chunking.Unsplittable:
        with pytest.raises(UsageError):
            speech_chunks.chunks(text, limit)
        return
    assert [chunk.text for chunk in speech_chunks.chunks(text, limit)] == there


def test_a_recording_is_named_after_its_first_words() -> None:
    told = {"prompt": "Hello from the queue. And more, much more than that."}
    assert tts.file_name({"format": "mp3"}, told, {}) == ("hello-from-the-queue-and-more", "mp3")
    assert tts.file_name({"text": "你好，世界。"}, {}, {}) == ("你好-世界", "ogg")
    assert tts.file_name({"text": "…"}, {}, {}) == ("speech", "ogg")


def test_the_line_under_a_recording_says_what_it_is() -> None:
    metrics = {"audio_s": 12.34, "chunks": [1, 2, 3], "engine": "indextts-2"}
    order = {"redo": [{"chunk": 2, "seed": 9}]}
    assert tts.summary(order, metrics, 1) == [
        "12.3 s of speech",
        "3 chunks",
        "redone 2",
        "indextts-2",
    ]


def test_subtitles_have_each_chunk_at_its_time() -> None:
    rows = [
        {"number": 1, "text": "One,\n\ntwo.", "start_s": 0.0, "end_s": 1.5, "seed": 0},
        {"number": 2, "text": "Three.", "start_s": 3661.25, "end_s": 3662.0, "seed": 0},
    ]
    assert speech_timings.subtitles(rows) == (
        "1\n00:00:00,000 --> 00:00:01,500\nOne, two.\n\n2\n01:01:01,250 --> 01:01:02,000\nThree.\n"
    )


# A chunk redone.


@pytest.fixture
def library(tmp_path: Path) -> Library:
    memory = State(tmp_path / "state.db")
    folder = tmp_path / "voices"
    folder.mkdir()
    (folder / "abc.wav").write_bytes(b"RIFF")
    voice = Voice("me", str(folder / "abc.wav"), "abc", "/me.wav", "0", 5.0, 22050, "mine", "now")
    from dataclasses import asdict

    memory.keep("voice", "me", asdict(voice))
    return Library(memory, folder, lambda: 0.0)


def record(text: str = TEXT, **changes: Any) -> JobRecord:
    asked = tts.resolve(replace(WISHES, text=text, max_chars_per_chunk=50)) | changes
    told = {"prompt": text, "receipt": {"voice": {"name": "me"}}, "folder": "/x"}
    return JobRecord("J1", "tts", "m", "m", "fetched", 0.0, asked, told)


def redo(library: Library, records: list[JobRecord], **wanted: Any) -> Any:
    return speech_orders.redone(
        Redo(**wanted), records, library, Path("/none"), None, Path("outputs")
    )


def test_a_redone_chunk_is_the_earlier_order_with_one_more_seed(library: Library) -> None:
    order = redo(library, [record("Another."), record()], number=2, seed=9, text=TEXT)
    assert order.input == {**record().input, "redo": [{"chunk": 2, "seed": 9}]}
    assert [path.name for path in order.inputs.values()] == ["abc.wav"]
    assert order.told == {"prompt": TEXT, "receipt": {"voice": {"name": "me"}}}


def test_what_was_redone_before_stays_redone(library: Library) -> None:
    before = record(redo=[{"chunk": 1, "seed": 5}, {"chunk": 2, "seed": 6}])
    order = redo(library, [before], number=2, seed=7)
    assert order.input["redo"] == [{"chunk": 1, "seed": 5}, {"chunk": 2, "seed": 7}]


def test_without_a_seed_each_redo_has_a_fresh_one(library: Library) -> None:
    seeds = {redo(library, [record()], number=1).input["redo"][0]["seed"] for _ in range(3)}
    assert len(seeds) == 3


def test_a_redo_of_nothing_or_of_a_chunk_that_is_none_says_so(library: Library) -> None:
    with pytest.raises(NotFound, match="no earlier speech"):
        redo(library, [record()], number=1, text="Something else.")
    with pytest.raises(NotFound, match="no earlier speech"):
        redo(library, [record()], number=1, voice="inputs/other.wav")
    with pytest.raises(UsageError, match="3 chunks"):
        redo(library, [record()], number=4)
    with pytest.raises(UsageError, match="--seed"):
        redo(library, [record()], number=1, seed=-1)


def test_a_clip_that_is_gone_is_named_before_anything_is_sent(library: Library) -> None:
    with pytest.raises(NotFound, match="speaker_voice"):
        redo(library, [record(speaker_voice="inputs/gone.wav")], number=1)
