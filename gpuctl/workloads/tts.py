"""Speech: a text and a voice in, one recording out. Pure: no files, no network, no clock."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gpuctl.errors import UsageError
from gpuctl.models import Json, Need
from gpuctl.workloads import base

NAME = "tts"
TITLE = "text to speech"
COMMAND = "tts"
EXAMPLE = 'tts "Hello." --voice me.wav'
PLACE: base.Place = "endpoint"
FORMATS = {"ogg": "audio/ogg", "wav": "audio/wav", "flac": "audio/flac", "mp3": "audio/mpeg"}
LANGUAGES = ("auto", "EN", "ZH", "JA", "ES", "AR")
EMOTIONS = ("happy", "angry", "sad", "afraid", "disgusted", "melancholic", "surprised", "calm")
MAX_CHARACTERS = 10_000
MAX_SEED = 2**32 - 1
# Stronger ones sound strange sooner (workloads.md §1.2).
DEFAULT_EMOTION = 0.6
# Made on the worker out of tones: a voice that is nobody's, for the tiny job that tries a machine.
NOBODYS_VOICE = "builtin:tone"
_LOSSY = ("ogg", "mp3")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the operator asked for. `voice` and `emotion_audio` are names on the worker."""

    text: str
    voice: str
    seed: int = 0
    lang: str = "auto"
    speed: float = 1.0
    format: str = "ogg"
    bitrate_kbps: int = 128
    max_chars_per_chunk: int = 300
    emotions: tuple[str, ...] = ()
    emotion_strength: float | None = None
    emotion_audio: str | None = None
    emotion_text: str | None = None
    redo: Mapping[int, int] = field(default_factory=dict)


def resolve(wishes: Wishes) -> Json:
    """The job's `input`, as remote_scripts/tts/handler.py reads it. Raises UsageError."""
    _check(wishes)
    asked: Json = {
        "text": wishes.text,
        "speaker_voice": wishes.voice,
        "seed": wishes.seed,
        "lang": wishes.lang.upper() if wishes.lang != "auto" else "auto",
        "speed": wishes.speed,
        "format": wishes.format,
        "max_chars_per_chunk": wishes.max_chars_per_chunk,
    }
    if wishes.format in _LOSSY:
        asked["bitrate_kbps"] = wishes.bitrate_kbps
    if wishes.emotions:
        asked["emo_vector"] = emotion_vector(wishes.emotions)
    if wishes.emotion_audio is not None:
        asked["emo_audio_prompt"] = wishes.emotion_audio
    if wishes.emotion_text is not None:
        asked["emo_text"] = wishes.emotion_text
    if wishes.emotion_strength is not None:
        asked["emo_alpha"] = wishes.emotion_strength
    if wishes.redo:
        asked["redo"] = redo_rows(wishes.redo)
    return asked


def redo_rows(redo: Mapping[int, int]) -> list[Json]:
    """Chunk → seed, as the handler reads it."""
    return [{"chunk": number, "seed": seed} for number, seed in sorted(redo.items())]


def check_format(format: str) -> None:
    """Raises UsageError."""
    _one_of("--format", format, tuple(FORMATS))


def emotion_vector(texts: Sequence[str]) -> list[float]:
    """`happy:0.6`, `sad`, or several with commas, as eight numbers. Raises UsageError."""
    vector = dict.fromkeys(EMOTIONS, 0.0)
    for part in ",".join(texts).split(","):
        name, colon, weight = part.strip().lower().partition(":")
        if name not in vector:
            raise UsageError(
                f"there is no emotion '{name}'", hint=f"one of {', '.join(EMOTIONS)}, as happy:0.6"
            )
        vector[name] = _weight(weight, part) if colon else DEFAULT_EMOTION
    return list(vector.values())


def _weight(text: str, whole: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise UsageError(f"--emotion {whole}: the number has to be from 0 to 1")
    return value


def _check(wishes: Wishes) -> None:
    if not any(map(str.isalnum, wishes.text)):
        raise UsageError("the text holds nothing that can be spoken", hint='gpuctl tts "Hello."')
    if len(wishes.text) > MAX_CHARACTERS:
        raise UsageError(
            f"the text has {len(wishes.text)} characters, and one job takes {MAX_CHARACTERS}",
            hint="cut it at a chapter or a paragraph, one job for each",
        )
    check_format(wishes.format)
    _one_of("--lang", wishes.lang, LANGUAGES)
    _within("--speed", wishes.speed, 0.5, 2.0)
    _within("--seed", wishes.seed, 0, MAX_SEED)
    _within("the bitrate", wishes.bitrate_kbps, 16, 320)
    _within("--max-chars", wishes.max_chars_per_chunk, 50, 1000)
    if wishes.emotion_strength is not None:
        _within("--emotion-strength", wishes.emotion_strength, 0.0, 1.0)
    if wishes.emotion_text is not None and not wishes.emotion_text.strip():
        raise UsageError("--emotion-text is empty", hint='e.g. --emotion-text "tired, but kind"')
    ways = [
        name
        for name, is_given in (
            ("--emotion", bool(wishes.emotions)),
            ("--emotion-audio", wishes.emotion_audio is not None),
            ("--emotion-text", wishes.emotion_text is not None),
        )
        if is_given
    ]
    if len(ways) > 1:
        raise UsageError(f"{' and '.join(ways)} exclude each other", hint="choose one")


def _one_of(flag: str, value: str, allowed: tuple[str, ...]) -> None:
    if value.lower() not in [each.lower() for each in allowed]:
        raise UsageError(f"{flag} {value}: unknown", hint=f"one of {', '.join(allowed)}")


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UsageError(f"{name} is {value:g}; it has to be from {low:g} to {high:g}")


# What it runs on.


def need(section: Mapping[str, Any]) -> Need:
    """No image by default: it is our own, named after the account that it was pushed to."""
    return base.need({**section, "image": section["image"] or ""})


def environment(section: Mapping[str, Any]) -> dict[str, str]:
    """What the container is told: the names of remote_scripts/tts/config.py and bootstrap.sh."""
    told = {
        "INDEXTTS_VERSION": section["version"],
        "INDEXTTS_REF": section["ref"],
        "USE_FP16": _word(section["half_precision"]),
        "USE_DEEPSPEED": _word(section["deepspeed"]),
        "USE_CUDA_KERNEL": _word(section["cuda_kernel"]),
        "MAX_TOKENS_PER_SEGMENT": section["max_tokens_per_segment"],
        "CLEANUP_DAYS": section["cleanup_days"],
        "AUDIO_VOICES_DIR": section["voices_dir"],
        "OUTPUT_AUDIO_DIR": section["output_audio_dir"],
        "CHECKPOINTS_DIR": section["checkpoints_dir"],
    }
    return {name: str(value) for name, value in told.items() if value not in (None, "")}


def _word(flag: object) -> str | None:
    # A switch without a default comes from the environment as the text that stood there.
    return None if flag is None else str(flag).lower()


def canary_input(section: Mapping[str, Any]) -> Json | None:  # noqa: ARG001  the protocol's
    """Two words in nobody's voice: the model is loaded, speaks, and what it said is encoded."""
    return {"text": "One, two.", "speaker_voice": NOBODYS_VOICE, "format": "wav", "lang": "EN"}


# What came out.


def file_name(order: Json, told: Json, artifact: Json) -> tuple[str, str]:  # noqa: ARG001
    text = str(told.get("prompt") or order.get("text") or "")
    words = re.findall(r"[^\W_]+", text[:400].lower())
    slug = "-".join(words[:6])[:48].rstrip("-")
    return slug or "speech", str(order.get("format", "ogg"))


def summary(order: Json, metrics: Json, files: int) -> list[str]:  # noqa: ARG001  the protocol's
    count = len(metrics.get("chunks") or ())
    parts = [f"{float(metrics.get('audio_s') or 0):.1f} s of speech"]
    if count > 1:
        parts.append(f"{count} chunks")
    if redone := order.get("redo"):
        parts.append("redone " + ", ".join(str(row["chunk"]) for row in redone))
    parts.append(str(metrics.get("engine") or ""))
    return [part for part in parts if part]
