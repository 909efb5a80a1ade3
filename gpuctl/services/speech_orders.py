"""From what the operator typed to a checked order for speech. Starts nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gpuctl.errors import NotFound, UsageError
from gpuctl.models import JobRecord, Json
from gpuctl.services import destinations, speech_chunks, voice_files
from gpuctl.services.generating import Order
from gpuctl.services.inputs import FOLDER
from gpuctl.services.voices import Library, Voice
from gpuctl.workloads import tts

# A file in the worker's own folder of voices (AUDIO_VOICES_DIR).
ON_VOLUME = "volume:"


@dataclass(frozen=True, slots=True)
class Speaker:
    """A voice as a job names it: one of ours that travels, or one that lies on the volume."""

    on_worker: str
    voice: Voice | None = None
    consent: Json | None = None

    @classmethod
    def of(cls, voice: Voice) -> Speaker:
        return cls(f"{FOLDER}/{voice.digest}.wav", voice)

    @property
    def title(self) -> str:
        return self.voice.title if self.voice else f"{ON_VOLUME}{self.on_worker}"

    def for_receipt(self) -> Json:
        if self.voice:
            return self.voice.for_receipt()
        return {"name": self.title, "consent": self.consent}


def order(
    wishes: tts.Wishes,
    speaker: Speaker,
    emotion: Path | None,
    out: str | None,
    output_folder: Path,
) -> Order:
    """A new speech. `emotion` is the converted clip behind wishes.emotion_audio.

    Raises UsageError.
    """
    asked = tts.resolve(wishes)
    speech_chunks.chunks(wishes.text, wishes.max_chars_per_chunk)
    inputs = {wishes.emotion_audio: emotion} if wishes.emotion_audio and emotion else {}
    if speaker.voice:
        inputs[speaker.on_worker] = speaker.voice.path
    return Order(
        workload=tts.NAME,
        input=asked,
        destination=destinations.plan(out, output_folder, tuple(tts.FORMATS)),
        inputs=inputs,
        told={"prompt": wishes.text, "receipt": {"voice": speaker.for_receipt()}},
    )


@dataclass(frozen=True, slots=True)
class Redo:
    """What has to be said again, and in which speech: None takes the last one."""

    number: int
    seed: int | None = None
    text: str | None = None
    voice: str | None = None


def redone(
    redo: Redo,
    records: Sequence[JobRecord],
    library: Library,
    clips: Path,
    out: str | None,
    output_folder: Path,
) -> Order:
    """An earlier speech with one chunk spoken anew; what was redone in it before stays so.

    `records` are jobs, the newest first. Raises NotFound, UsageError.
    """
    base = next((record for record in records if _fits(record, redo)), None)
    if base is None:
        raise NotFound(
            "there is no earlier speech with that text and voice to redo a chunk of",
            hint="speak it once without --redo; gpuctl jobs list shows what there is",
        )
    asked = dict(base.input)
    count = len(speech_chunks.chunks(asked["text"], int(asked["max_chars_per_chunk"])))
    if not 1 <= redo.number <= count:
        raise UsageError(
            f"--redo {redo.number}: that speech has {count} chunk{'s' if count != 1 else ''}",
            hint="gpuctl tts … --dry-run shows them with their numbers",
        )
    before = {int(row["chunk"]): int(row["seed"]) for row in asked.get("redo") or ()}
    asked["redo"] = tts.redo_rows({**before, redo.number: _seed(redo.seed)})
    told: Json = {key: base.context[key] for key in ("prompt", "receipt") if key in base.context}
    return Order(
        workload=tts.NAME,
        input=asked,
        destination=destinations.plan(out, output_folder, tuple(tts.FORMATS)),
        inputs=_inputs(asked, library, clips),
        told=told,
    )


def format_of(out: str | None) -> str | None:
    """What the suffix of --out says, if anything."""
    suffix = (out or "").rpartition(".")[2].lower()
    return suffix if suffix in tts.FORMATS else None


def emotion_clip(source: Path, clips: Path) -> tuple[str, Path]:
    """A clip whose emotion is taken, not its voice: its name on the worker, and the file here.

    Raises NotFound, ValidationFailed, MissingDependency.
    """
    made = voice_files.convert(source, clips)
    return f"{FOLDER}/{made.digest}.wav", made.file


def _fits(record: JobRecord, redo: Redo) -> bool:
    asked = record.input
    if record.workload != tts.NAME or "text" not in asked:
        return False
    if redo.text is not None and asked["text"] != redo.text:
        return False
    return redo.voice is None or asked.get("speaker_voice") == redo.voice


def _seed(asked: int | None) -> int:
    """A fresh one: of four bytes, which is what MAX_SEED holds."""
    if asked is not None and not 0 <= asked <= tts.MAX_SEED:
        raise UsageError(f"--seed is {asked}; it has to be from 0 to {tts.MAX_SEED}")
    return int.from_bytes(os.urandom(4), "big") if asked is None else asked


def _inputs(asked: Json, library: Library, clips: Path) -> dict[str, Path]:
    """The files that the earlier job was sent with, found again by their content."""
    found: dict[str, Path] = {}
    voices = {f"{FOLDER}/{voice.digest}.wav": voice for voice in library.all()}
    for field in ("speaker_voice", "emo_audio_prompt"):
        name = str(asked.get(field) or "")
        if not name.startswith(f"{FOLDER}/"):
            continue
        clip = clips / Path(name).name
        if field == "speaker_voice" and name in voices:
            clip = library.renewed(voices[name]).path
        if not clip.is_file():
            raise NotFound(
                f"the clip behind {field} of that speech is gone from this computer",
                hint="speak it again without --redo, with --voice and the clip",
            )
        found[name] = clip
    return found
