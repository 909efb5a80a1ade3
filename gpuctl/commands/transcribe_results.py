"""How the recordings of one `gpuctl transcribe` went: files on stdout, all of it for scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gpuctl.commands.transcribe_text import span_text, summary
from gpuctl.context import Context
from gpuctl.errors import GpuctlError, PassedThrough
from gpuctl.models import Json
from gpuctl.services import subtitles
from gpuctl.services.jobs import cost_usd
from gpuctl.services.transcript_keeping import Kept


@dataclass(slots=True)
class Result:
    """How one recording went."""

    name: str
    kept: Kept | None = None
    error: GpuctlError | None = None

    @property
    def is_whole(self) -> bool:
        return self.kept is not None and self.kept.transcript.is_whole


def say(context: Context, kept: Kept) -> None:
    """One line under each recording, and a warning for whatever is missing in its transcript."""
    console, heard = context.console, kept.transcript
    console.note(summary(kept))
    for span in heard.lost:
        console.warn(f"{kept.record.input['source']}: {span_text(span)} could not be transcribed")
    for span in heard.wordless:
        console.note(f"no words were heard in {span_text(span)}, though there is sound")
    if kept.record.input.get("diarize") and not any(one.speaker for one in heard.segments):
        console.warn("no speakers were told apart: only the full image can (deploy without --slim)")


def show(context: Context, results: Sequence[Result], format: str, is_to_open: bool | None) -> None:
    """Raises PassedThrough(1) when something is missing."""
    is_ok = all(one.is_whole for one in results)
    kept = [one.kept for one in results if one.kept is not None]
    lines = [
        str(one.file) if one.file else subtitles.written(one.transcript, format).rstrip("\n")
        for one in kept
    ]
    data = {"transcripts": [_row(one) for one in results]}
    context.console.result(data, "\n".join(lines), changed=True, ok=is_ok)
    if not is_ok:
        raise PassedThrough(1)
    _open(context, [one.file for one in kept if one.file], is_to_open)


def _row(result: Result) -> Json:
    if result.kept is None:
        error = result.error
        return {"source": result.name, "file": None, "error": error.message if error else None}
    record, heard = result.kept.record, result.kept.transcript
    return {
        "source": result.name,
        "file": str(result.kept.file) if result.kept.file else None,
        "job": record.id,
        **subtitles.as_json(heard),
        "model": record.input.get("model"),
        "way": heard.way,
        "reconnects": heard.reconnects,
        "elapsed_s": heard.elapsed_s,
        "cost_usd": cost_usd(record),
        "receipt": result.kept.receipt,
        "error": record.error,
    }


def _open(context: Context, files: Sequence[Path], asked: bool | None) -> None:
    configured = context.settings.text("whisper.open")
    is_wanted = configured == "always" or (configured == "auto" and context.console.is_watched)
    if files and (is_wanted if asked is None else asked):
        from gpuctl.services.viewer import open_file  # noqa: PLC0415  only for a person

        open_file(files[0])
