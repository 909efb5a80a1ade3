"""When each chunk is heard in a finished recording: as subtitles, or as data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from gpuctl.errors import GpuctlError
from gpuctl.models import Json

KINDS = ("srt", "json")


def write(recording: Path, chunks: Sequence[Json], kind: str) -> Path:
    """Beside the recording, with its name. Raises GpuctlError when it cannot be written."""
    # NAME.ogg.json is the receipt's.
    target = recording.with_suffix(".srt" if kind == "srt" else ".timings.json")
    text = subtitles(chunks) if kind == "srt" else document(chunks)
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise GpuctlError(f"cannot write {target}: {error.strerror}") from error
    return target


def subtitles(chunks: Sequence[Json]) -> str:
    """SubRip."""
    return "\n".join(
        f"{number}\n{_clock(chunk['start_s'])} --> {_clock(chunk['end_s'])}\n"
        # An empty line would end the subtitle.
        f"{' '.join(str(chunk['text']).split())}\n"
        for number, chunk in enumerate(chunks, 1)
    )


def document(chunks: Sequence[Json]) -> str:
    rows = [
        {name: chunk[name] for name in ("number", "text", "start_s", "end_s", "seed")}
        for chunk in chunks
    ]
    return json.dumps(rows, ensure_ascii=False, indent=2) + "\n"


def _clock(seconds: float) -> str:
    total_ms = round(float(seconds) * 1000)
    minutes, rest_ms = divmod(total_ms, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{rest_ms // 1000:02},{rest_ms % 1000:03}"
