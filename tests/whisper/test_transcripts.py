"""What servers say again and again becomes a transcript in which everything stands once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuctl.clients.whisper_live import News, Segment, parsed
from gpuctl.services.transcripts import Hearing, Span, gaps, word_error


def _segment(start: float, end: float, text: str, *, is_completed: bool = True) -> Segment:
    return Segment(start, end, text, is_completed)


def test_windows_that_overlap_are_kept_once() -> None:
    hearing = Hearing()
    one, two, three = (_segment(n, n + 1.0, f" {n}") for n in range(3))
    hearing.take(News(segments=(one, two)), 0.0)
    hearing.take(News(segments=(one, two, three)), 0.0)
    hearing.take(News(segments=(two, three)), 0.0)
    assert [segment.text for segment in hearing.accepted] == [" 0", " 1", " 2"]


def test_an_open_end_is_final_only_when_all_was_heard() -> None:
    hearing = Hearing()
    open_ = _segment(0, 1, " hel", is_completed=False)
    assert hearing.take(News(segments=(open_,)), 0.0) == []
    assert hearing.accepted == []
    hearing.take(News(segments=(_segment(0, 1.4, " hello", is_completed=False),)), 0.0)
    assert [segment.text for segment in hearing.settle()] == [" hello"]


def test_times_are_counted_from_where_the_connection_began() -> None:
    hearing = Hearing()
    hearing.take(News(segments=(_segment(0.5, 1.0, " a"),)), 10.0)
    assert (hearing.accepted[0].start, hearing.accepted[0].end) == (10.5, 11.0)


def test_a_sentence_that_the_server_takes_for_an_echo_is_kept_where_it_tells_its_position() -> None:
    hearing = Hearing()
    first = _segment(0, 1, " yes")
    hearing.take(News(segments=(first, _segment(1, 2, " yes", is_completed=False))), 0.0)
    hearing.take(News(segments=(first,)), 0.0)
    hearing.take(News(position=2.0, received=4.0), 0.0)
    assert [segment.start for segment in hearing.accepted] == [0, 1]


def test_words_that_are_taken_back_are_not_kept() -> None:
    hearing = Hearing()
    hearing.take(News(segments=(_segment(0, 1, " thank you", is_completed=False),)), 0.0)
    hearing.take(News(segments=()), 0.0)
    hearing.take(News(position=0.0, received=4.0), 0.0)
    assert hearing.settle() == []


def test_the_wire_has_numbers_as_text_and_things_that_nobody_knows() -> None:
    news = parsed('{"uid":"u","segments":[{"start":"1.500","end":"2.000","text":" a","new":1}]}')
    assert news.segments == (Segment(1.5, 2.0, " a"),)
    assert parsed("no json") == News()
    assert parsed('{"uid":"u","message":"DISCONNECT"}').is_disconnect
    assert parsed('{"uid":"u","status":"WARNING","message":"slow"}').warning == "slow"


@given(st.lists(st.integers(0, 40), min_size=1, max_size=40), st.integers(1, 8))
def test_any_sliding_window_gives_each_segment_once(cuts: list[int], size: int) -> None:
    whole = [_segment(n, n + 1.0, f" w{n}") for n in range(max(cuts) + 1)]
    hearing = Hearing()
    for end in sorted(cuts):
        hearing.take(News(segments=tuple(whole[max(0, end + 1 - size) : end + 1])), 0.0)
    texts = [segment.text for segment in hearing.accepted]
    assert len(texts) == len(set(texts))
    starts = [segment.start for segment in hearing.accepted]
    assert starts == sorted(starts)
    assert hearing.accepted[-1].text == f" w{max(cuts)}"


def test_gaps_are_where_no_segment_lies() -> None:
    segments = [_segment(1, 2, "a"), _segment(2, 3, "b"), _segment(5, 6, "c")]
    assert gaps(segments, 8) == [Span(0, 1), Span(3, 5), Span(6, 8)]
    assert gaps([], 2) == [Span(0, 2)]


@pytest.mark.parametrize(
    ("said", "heard", "error"),
    [
        ("one two three four", "one two three four", 0),
        ("One, two; three four!", "one two three four", 0),
        ("one two three four", "one three four", 0.25),
        ("one two three four", "one two two three four", 0.25),
        ("one two three four", "", 1),
        ("", "", 0),
    ],
)
def test_word_error_counts_changed_added_and_missing(said: str, heard: str, error: float) -> None:
    assert word_error(said, heard) == error
