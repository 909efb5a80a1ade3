"""What a speech job may ask for, checked field by field before anything is loaded."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tts import chunking
from tts.emotions import NAMES
from worker.fields import Fields, bad_input

MAX_CHARACTERS = 10_000
MAX_SEED = 2**32 - 1
LANGUAGES = ("auto", "EN", "ZH", "JA", "ES", "AR")
FORMATS = {"ogg": "audio/ogg", "wav": "audio/wav", "flac": "audio/flac", "mp3": "audio/mpeg"}
BITRATES_KBPS = (16, 320)
# Text emotion is advised at about 0.6 (workloads.md §1.2).
TEXT_EMOTION_ALPHA = 0.6
_SESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True)
class Request:
    """A job that passed every check. `redo`: number of a chunk, from 1 → the seed it gets."""

    text: str
    session_id: str | None = None
    speaker_voice: str | None = None
    emo_audio_prompt: str | None = None
    emo_vector: tuple[float, ...] | None = None
    emo_alpha: float = 1.0
    emo_text: str | None = None
    enable_chunking: bool = True
    max_chars_per_chunk: int = chunking.LIMIT
    enable_crossfade: bool = False
    crossfade_ms: int = 100
    crossfade_curve: str = "hann"
    lang: str = "auto"
    speed: float = 1.0
    seed: int = 0
    format: str = "ogg"
    bitrate_kbps: int = 128
    redo: Mapping[int, int] = field(default_factory=dict)

    def chunks(self) -> list[chunking.Chunk]:
        """The text as it will be spoken; one chunk when chunking is off."""
        if not self.enable_chunking:
            return [chunking.Chunk(self.text, "end")]
        return chunking.chunks(self.text, self.max_chars_per_chunk)


def parse(document: object) -> Request:
    """The request in a job's `input`. Raises Failure (bad_input) naming the field at fault."""
    fields = Fields(document, "the input")
    text = fields.text("text", limit=MAX_CHARACTERS)
    if not chunking.is_speakable(text):
        raise bad_input("text holds nothing that can be spoken", "give it words")
    emo_text = fields.optional_text("emo_text", limit=1000)
    request = Request(
        text=text,
        session_id=_session(fields),
        speaker_voice=fields.optional_text("speaker_voice", limit=500),
        emo_audio_prompt=fields.optional_text("emo_audio_prompt", limit=500),
        emo_vector=_vector(fields.value("emo_vector")),
        emo_alpha=fields.number("emo_alpha", TEXT_EMOTION_ALPHA if emo_text else 1.0, 0.0, 1.0),
        emo_text=emo_text,
        enable_chunking=fields.flag("enable_chunking", default=True),
        max_chars_per_chunk=fields.integer(
            "max_chars_per_chunk",
            chunking.LIMIT,
            chunking.LOWEST_LIMIT,
            chunking.HIGHEST_LIMIT,
        ),
        enable_crossfade=fields.flag("enable_crossfade"),
        crossfade_ms=fields.integer("crossfade_ms", 100, 0, 1000),
        crossfade_curve=fields.choice("crossfade_curve", ("hann", "equal_power"), "hann"),
        lang=fields.choice("lang", LANGUAGES, "auto"),
        speed=fields.number("speed", 1.0, 0.5, 2.0),
        seed=fields.integer("seed", 0, 0, MAX_SEED),
        format=fields.choice("format", tuple(FORMATS), "ogg"),
        bitrate_kbps=fields.integer("bitrate_kbps", 128, *BITRATES_KBPS),
        redo=_redo(fields),
    )
    _check_chunks(request)
    return request


def unknown_keys(document: Mapping[str, Any]) -> list[str]:
    """Keys that `parse` did not look at: a misspelt one should not pass unnoticed."""
    return sorted(set(document) - set(Request.__dataclass_fields__))


def _session(fields: Fields) -> str | None:
    session = fields.optional_text("session_id", limit=100)
    if session is not None and not _SESSION.fullmatch(session):
        raise bad_input(
            f"session_id is {session!r}", "it names a file: letters, digits, dot, dash, underscore"
        )
    return session


def _vector(value: object) -> tuple[float, ...] | None:
    if value is None:
        return None
    wanted = f"send {len(NAMES)} numbers from 0 to 1: {', '.join(NAMES)}"
    if not isinstance(value, list) or len(value) != len(NAMES):
        raise bad_input("emo_vector is not a list of 8 numbers", wanted)
    for name, number in zip(NAMES, value, strict=True):
        is_number = isinstance(number, int | float) and not isinstance(number, bool)
        if not is_number or not math.isfinite(number) or not 0 <= number <= 1:
            raise bad_input(f"emo_vector has {number!r} for {name}", wanted)
    return tuple(map(float, value))


def _redo(fields: Fields) -> dict[int, int]:
    return {
        row.integer("chunk", 0, 1, MAX_CHARACTERS): row.integer("seed", 0, 0, MAX_SEED)
        for row in fields.tables("redo", MAX_CHARACTERS)
    }


def _check_chunks(request: Request) -> None:
    try:
        count = len(request.chunks())
    except chunking.Unsplittable as error:
        raise bad_input(f"text: the markup {error}", "raise max_chars_per_chunk") from error
    if request.redo and not all(1 <= number <= count for number in request.redo):
        asked = ", ".join(map(str, sorted(request.redo)))
        raise bad_input(f"redo asks for chunk {asked}", f"the text has {count}, counted from 1")
