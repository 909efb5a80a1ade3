"""Speech and voices as text and as data: pure."""

from __future__ import annotations

from collections.abc import Sequence

from gpuctl.commands.render import table
from gpuctl.models import Json
from gpuctl.services.speech_chunks import Chunk
from gpuctl.services.voices import Voice

_SHOWN = 64


def chunks_text(chunks: Sequence[Chunk]) -> str:
    rows = [(str(chunk.number), str(len(chunk.text)), _short(chunk.text)) for chunk in chunks]
    return table(("chunk", "characters", "text"), rows)


def chunks_data(chunks: Sequence[Chunk]) -> list[Json]:
    return [
        {
            "number": chunk.number,
            "characters": len(chunk.text),
            "tokens_about": chunk.tokens,
            "ending": chunk.ending,
            "text": chunk.text,
        }
        for chunk in chunks
    ]


def voices_text(voices: Sequence[Voice]) -> str:
    rows = [
        (
            voice.name or f"({voice.title})",
            f"{voice.duration_s:.1f} s",
            f"{voice.rate} Hz",
            _short(voice.consent),
        )
        for voice in voices
    ]
    return table(("voice", "length", "rate", "consent"), rows)


def voice_text(voice: Voice) -> str:
    lines = [
        f"{voice.title}: {voice.duration_s:.1f} s at {voice.rate} Hz",
        f"  consent  {voice.consent} ({voice.added_at})",
        f"  source   {voice.source}",
        f"  file     {voice.file}",
        f"  sha256   {voice.digest}",
    ]
    return "\n".join([*lines, *(f"  note     {warning}" for warning in voice.warnings)])


def voice_data(voice: Voice) -> Json:
    return {
        "name": voice.name,
        "title": voice.title,
        "duration_s": voice.duration_s,
        "rate": voice.rate,
        "consent": voice.consent,
        "added_at": voice.added_at,
        "source": voice.source,
        "file": voice.file,
        "sha256": voice.digest,
        "warnings": list(voice.warnings),
    }


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1].rstrip()}…"
