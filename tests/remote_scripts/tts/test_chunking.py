"""Chunks: joined they are the text, none is too long, and nothing is cut that belongs together."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tts.chunking import TOKENS, Unsplittable, chunks, is_speakable, tokens_about

ENGLISH = (
    "Dr. Smith paid $1,234.56 to J. R. R. Tolkien, i.e. the author. “Hello there!” he said. It was "
    "3.14 p.m. in the U.S. yesterday... However, nothing happened; the <read|R EH1 D> book was "
    "5 km away, etc. And so on. "
)
CHINESE = "你好，世界。今天是二〇二六年十一月二十一日，天气很好！我们去公园玩；他说：“好的。”"

WORDS = st.sampled_from(
    [
        *["word", "a", "however", "Straße", "naïve", "don't", "state-of-the-art", "XING2", "🦊"],
        *["Dr.", "Mr.", "e.g.", "i.e.", "U.S.", "etc.", "p.m.", "No. 5", "Fig. 12", "J. R. Smith"],
        *[
            "3.14",
            "1,234,567.89",
            "$9.99",
            "12:30",
            "2026-11-21",
            "1 000 000",
            "50%",
            "−3.5",
            "5 km",
        ],
        *["<read|R EH1 D>", "<行|XING2>", "<going|G OW1 . IH0 NG>", "https://example.org/a?b=1,2"],
        *["你好", "世界很大", "二〇二六年", "三千五百万", "東京タワー", "안녕하세요"],
    ]
)
MARKS = st.sampled_from(
    [" ", " ", " ", " ", ", ", "; ", ". ", "! ", "? ", "... ", "，", "。", "！", "—"]
)
BREAKS = st.sampled_from(["\n", "\n\n", "  ", "\t", "\u00a0"])
TEXTS = st.lists(st.tuples(WORDS, MARKS | BREAKS), max_size=150).map(
    lambda pairs: "".join(word + mark for word, mark in pairs)
)
LIMITS = st.integers(50, 1000)

# Written apart from the code under test: what must never be cut.
TOGETHER = re.compile(
    r"<[^<>|\n]+\|[^<>\n]+>|\d+(?:[.,:\-]\d+)+|\$\d|\d%|\d{1,3}(?: 000)+|−\d"
    r"|\b(?:Dr|Mr|No|Fig)\. ?\S|\b(?:e\.g|i\.e|p\.m|U\.S)\.|etc\.|J\. R\. S|[二〇六三千五百万]{2,}"
)


@given(st.text(max_size=1200), LIMITS)
@settings(max_examples=150, deadline=None)
def test_chunks_of_any_text_are_the_text_and_none_is_too_long(text: str, limit: int) -> None:
    try:
        found = chunks(text, limit)
    except Unsplittable:
        assert re.search(r"<[^<>|\n]+\|[^<>\n]+>", text)
        return
    assert "".join(chunk.text for chunk in found) == text
    assert all(0 < len(chunk.text) <= limit for chunk in found)


@given(TEXTS, LIMITS)
@settings(max_examples=200, deadline=None)
def test_numbers_abbreviations_and_markup_stay_whole(text: str, limit: int) -> None:
    found = chunks(text, limit)
    assert "".join(chunk.text for chunk in found) == text
    assert all(0 < len(chunk.text) <= limit for chunk in found)
    cuts, at = set(), 0
    for chunk in found[:-1]:
        at += len(chunk.text)
        cuts.add(at)
    for together in TOGETHER.finditer(text):
        inside = cuts & set(range(together.start() + 1, together.end()))
        assert not inside, f"{together.group()!r} was cut"


@given(TEXTS, LIMITS)
@settings(max_examples=100, deadline=None)
def test_no_chunk_asks_more_of_the_model_than_a_segment(text: str, limit: int) -> None:
    for chunk in chunks(text, limit):
        assert tokens_about(chunk.text) <= TOKENS + 1


@given(TEXTS, st.integers(50, 300))
@settings(max_examples=60, deadline=None)
def test_the_same_text_is_always_cut_alike(text: str, limit: int) -> None:
    assert chunks(text, limit) == chunks(text, limit)


def test_english_is_cut_at_the_ends_of_sentences() -> None:
    found = chunks(ENGLISH * 3, 80)
    assert [chunk.text.strip() for chunk in found[:4]] == [
        "Dr. Smith paid $1,234.56 to J. R. R. Tolkien, i.e. the author.",
        "“Hello there!” he said. It was 3.14 p.m. in the U.S. yesterday...",
        "However, nothing happened; the <read|R EH1 D> book was 5 km away, etc.",
        "And so on. Dr. Smith paid $1,234.56 to J. R. R. Tolkien, i.e. the author.",
    ]
    assert {chunk.ending for chunk in found[:-1]} == {"sentence"}
    assert found[-1].ending == "end"


def test_chinese_needs_no_spaces_and_stays_within_the_models_segment() -> None:
    found = chunks(CHINESE * 12, 1000)
    assert len(found) > 4
    assert all(chunk.text[-1] in "。！？”；" for chunk in found)
    assert all(len(chunk.text) <= 100 for chunk in found)


def test_mixed_text_is_cut_at_either_kind_of_mark() -> None:
    found = chunks(("我们使用 IndexTTS-2.5 合成语音。It costs $0.69 per hour, 很便宜。" * 6), 60)
    assert all(chunk.text.strip()[-1] == "。" for chunk in found)


def test_a_long_sentence_is_cut_at_a_clause_then_between_words_never_in_one() -> None:
    found = chunks("one two three four five, six seven eight nine ten eleven twelve", 50)
    assert [chunk.text for chunk in found] == [
        "one two three four five, ",
        "six seven eight nine ten eleven twelve",
    ]
    assert found[0].ending == "clause"
    found = chunks("alpha beta gamma delta epsilon zeta eta theta iota kappa lambda", 50)
    assert [chunk.ending for chunk in found] == ["word", "end"]
    assert found[0].text.endswith(" ")


def test_paragraphs_and_sentences_are_told_apart() -> None:
    text = (
        "The first one ends here, at last.\n\nThe second paragraph begins now. It goes on and on."
    )
    assert [chunk.ending for chunk in chunks(text, 50)] == ["paragraph", "sentence", "end"]


def test_a_word_longer_than_the_limit_is_cut_because_it_must_be() -> None:
    found = chunks("x" * 130, 50)
    assert [len(chunk.text) for chunk in found] == [50, 50, 30]


def test_markup_longer_than_the_limit_is_refused_by_name() -> None:
    with pytest.raises(Unsplittable, match="characters"):
        chunks("say <entrepreneurship|" + "AA2 " * 20 + "> now", 50)


def test_ten_thousand_characters_take_no_time_worth_mentioning() -> None:
    """Quadratic work would show: the longest text allowed, in the shortest chunks."""
    found = chunks((ENGLISH * 60)[:10_000], 50)
    assert len(found) > 200


@pytest.mark.parametrize("text", ["", "...", "—", "   \n", "!?。", "🦊"])
def test_marks_alone_cannot_be_spoken(text: str) -> None:
    assert not is_speakable(text)
