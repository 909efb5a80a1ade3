"""A transcript as txt, srt, vtt, tsv or json: pure.

Subtitles are cut as people read them: two lines of 42 characters, seven seconds, a gap between two.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from gpuctl.clients.whisper_live import Segment, Word
from gpuctl.models import Json
from gpuctl.services.transcripts import Transcript

LINE_CHARACTERS = 42
LINES = 2
MOST_S = 7.0
LEAST_S = 0.5
GAP_S = 0.08
SIMULATED_NOTE = "simulated: the words stand for pitches, nobody spoke them"


@dataclass(frozen=True, slots=True)
class Cue:
    """What stands on the screen between two times, in seconds."""

    start: float
    end: float
    text: str


def written(transcript: Transcript, format: str) -> str:
    """The whole file. `format` is one of workloads.whisper.FORMATS."""
    writers: dict[str, Callable[[Transcript], str]] = {
        "txt": _txt,
        "srt": _srt,
        "vtt": _vtt,
        "tsv": _tsv,
        "json": _json,
    }
    return writers[format](transcript)


def cues(segments: Sequence[Segment]) -> list[Cue]:
    """Subtitles that fit the screen, in order, none over another."""
    found = [cue for segment in segments for cue in _cut(segment) if cue.text]
    return [
        _held_apart(cue, found[number + 1] if number + 1 < len(found) else None)
        for number, cue in enumerate(found)
    ]


def _cut(segment: Segment) -> list[Cue]:
    """A segment in parts that fit two lines and seven seconds, by its words' times if known."""
    words = list(segment.words) or _guessed_words(segment)
    speaker = f"[{segment.speaker}] " if segment.speaker else ""
    parts: list[list[Word]] = []
    for word in words:
        if parts and _fits([*parts[-1], word], len(speaker) if len(parts) == 1 else 0):
            parts[-1].append(word)
        else:
            parts.append([word])
    return [
        Cue(part[0].start, part[-1].end, (speaker if number == 0 else "") + _joined(part))
        for number, part in enumerate(parts)
    ]


def _fits(words: Sequence[Word], taken: int) -> bool:
    is_short = words[-1].end - words[0].start <= MOST_S
    return is_short and len(_wrapped(" " * taken + _joined(words))) <= LINES


def _guessed_words(segment: Segment) -> list[Word]:
    """Each word gets the share of the time that its letters have of the text."""
    texts = segment.text.split()
    letters = sum(map(len, texts)) or 1
    found, at = [], segment.start
    for text in texts:
        end = at + (segment.end - segment.start) * len(text) / letters
        found.append(Word(at, end, text))
        at = end
    return found


def _joined(words: Sequence[Word]) -> str:
    return " ".join(word.text.strip() for word in words if word.text.strip())


def _held_apart(cue: Cue, following: Cue | None) -> Cue:
    """Long enough to be seen, over before the next one begins."""
    end = max(cue.end, cue.start + LEAST_S)
    if following is not None:
        end = max(cue.start + 0.001, min(end, following.start - GAP_S))
    return Cue(cue.start, end, cue.text)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, LINE_CHARACTERS, drop_whitespace=True) or [""]


def _txt(transcript: Transcript) -> str:
    lines, speaker = [], None
    for segment in transcript.segments:
        text = segment.text.strip()
        if segment.speaker and segment.speaker != speaker:
            speaker = segment.speaker
            lines.append(f"[{speaker}]")
        if text:
            lines.append(text)
    return "".join(f"{line}\n" for line in lines)


def _srt(transcript: Transcript) -> str:
    blocks = [
        f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n"
        + "\n".join(_wrapped(cue.text))
        + "\n"
        for number, cue in enumerate(cues(transcript.segments), 1)
    ]
    return "\n".join(blocks)


def _vtt(transcript: Transcript) -> str:
    blocks = ["WEBVTT\n"]
    if transcript.engine == "sim":
        blocks.append(f"NOTE {SIMULATED_NOTE}\n")
    for cue in cues(transcript.segments):
        text = "\n".join(_wrapped(cue.text)).replace("&", "&amp;").replace("<", "&lt;")
        blocks.append(f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n{text}\n")
    return "\n".join(blocks)


def _tsv(transcript: Transcript) -> str:
    """As openai-whisper writes it: whole milliseconds."""
    rows = [
        f"{round(one.start * 1000)}\t{round(one.end * 1000)}\t"
        + one.text.strip().replace("\t", " ").replace("\n", " ")
        for one in transcript.segments
    ]
    return "".join(f"{row}\n" for row in ["start\tend\ttext", *rows])


def _json(transcript: Transcript) -> str:
    return json.dumps(as_json(transcript), ensure_ascii=False, indent=2) + "\n"


def as_json(transcript: Transcript) -> Json:
    """Everything that is known of it."""
    return {
        "text": transcript.text,
        "language": transcript.language,
        "duration_s": transcript.duration_s,
        "engine": transcript.engine,
        "simulated": transcript.engine == "sim",
        "segments": [segment_json(segment) for segment in transcript.segments],
        "lost": [span.as_json() for span in transcript.lost],
        "wordless": [span.as_json() for span in transcript.wordless],
    }


def segment_json(segment: Segment) -> Json:
    """Without what is not known of it."""
    found: Json = {
        "start": round(segment.start, 3),
        "end": round(segment.end, 3),
        "text": segment.text.strip(),
    }
    if segment.speaker:
        found["speaker"] = segment.speaker
    if segment.words:
        found["words"] = [asdict(word) for word in segment.words]
    return found


def _clock(seconds: float, point: str) -> str:
    milliseconds = max(0, round(seconds * 1000))
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    whole, thousandths = divmod(rest, 1000)
    return f"{hours:02}:{minutes:02}:{whole:02}{point}{thousandths:03}"
