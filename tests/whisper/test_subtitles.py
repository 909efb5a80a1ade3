"""Subtitles that fit the screen, and files that other programs read."""

from __future__ import annotations

import json
import re
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from gpuctl.clients.whisper_live import Segment, Word
from gpuctl.services.subtitles import GAP_S, LINE_CHARACTERS, MOST_S, cues, written
from gpuctl.services.transcripts import Span, Transcript

LONG = " ".join(f"word{number}" for number in range(60))


def _transcript(*segments: Segment, engine: str = "faster_whisper") -> Transcript:
    return Transcript(segments, "en", 60.0, engine)


def test_srt_is_numbered_and_has_commas() -> None:
    text = written(_transcript(Segment(0, 1.2, " Hello."), Segment(3661.5, 3662, " Bye.")), "srt")
    assert text == (
        "1\n00:00:00,000 --> 00:00:01,200\nHello.\n\n2\n01:01:01,500 --> 01:01:02,000\nBye.\n"
    )


def test_vtt_has_its_header_and_escapes_what_it_reads_as_markup() -> None:
    text = written(_transcript(Segment(0, 1, " a < b & c")), "vtt")
    assert text == "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\na &lt; b &amp; c\n"
    assert "NOTE simulated" in written(_transcript(engine="sim"), "vtt")


def test_tsv_counts_milliseconds() -> None:
    text = written(_transcript(Segment(0.5, 1.25, " a\tb\n c")), "tsv")
    assert text == "start\tend\ttext\n500\t1250\ta b  c\n"


def test_txt_names_a_speaker_when_another_speaks() -> None:
    text = written(
        _transcript(
            Segment(0, 1, " a", speaker="SPEAKER_00"),
            Segment(1, 2, " b", speaker="SPEAKER_00"),
            Segment(2, 3, " c", speaker="SPEAKER_01"),
        ),
        "txt",
    )
    assert text == "[SPEAKER_00]\na\nb\n[SPEAKER_01]\nc\n"


def test_json_says_what_is_missing_and_that_it_is_simulated() -> None:
    transcript = Transcript((), None, 9.0, "sim", lost=(Span(1.0, None),))
    told = json.loads(written(transcript, "json"))
    assert told["lost"] == [{"begin": 1.0, "end": None}]
    assert told["simulated"] is True


def test_a_long_segment_is_cut_into_cues_that_fit() -> None:
    found = cues([Segment(0, 40, f" {LONG}")])
    assert " ".join(cue.text for cue in found) == LONG
    assert all(cue.end - cue.start <= MOST_S for cue in found)
    text = written(_transcript(Segment(0, 40, f" {LONG}")), "srt")
    for block in text.split("\n\n"):
        lines = block.strip().splitlines()[2:]
        assert 1 <= len(lines) <= 2
        assert all(len(line) <= LINE_CHARACTERS for line in lines)


def test_the_words_own_times_decide_where_it_is_cut() -> None:
    words = tuple(Word(n * 3.0, n * 3.0 + 1, f" w{n}") for n in range(4))
    found = cues([Segment(0, 10, " w0 w1 w2 w3", words=words)])
    assert [cue.text for cue in found] == ["w0 w1 w2", "w3"]
    assert [cue.start for cue in found] == [0.0, 9.0]


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.floats(0.1, 20), st.text(st.sampled_from("abc éß "), max_size=200)), max_size=8
    )
)
def test_cues_never_overlap_and_lose_no_word(parts: list[tuple[float, str]]) -> None:
    at, segments = 0.0, []
    for length, text in parts:
        segments.append(Segment(at, at + length, text))
        at += length
    found = cues(segments)
    for cue, following in pairwise(found):
        assert cue.start < cue.end
        assert cue.end <= following.start + 0.001 or following.start - cue.start < GAP_S
    heard = " ".join(cue.text for cue in found).split()
    assert heard == " ".join(text for _, text in parts).split()


def test_srt_and_vtt_have_the_same_cues() -> None:
    transcript = _transcript(Segment(0, 40, f" {LONG}"))
    times = [
        re.findall(r"(\S+) --> (\S+)", written(transcript, format)) for format in ("srt", "vtt")
    ]
    assert [(a.replace(",", "."), b.replace(",", ".")) for a, b in times[0]] == times[1]
