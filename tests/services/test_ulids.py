"""Names that sort by time and never meet."""

from __future__ import annotations

import re

import pytest

from gpuctl.services import ulids


def test_a_name_is_26_letters_of_the_alphabet_without_i_l_o_u() -> None:
    assert re.fullmatch(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", ulids.new_ulid())


def test_names_sort_by_the_millisecond_in_which_they_were_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = []
    for milliseconds in (1, 2, 31, 32, 2**20, 2**40, 2**48 - 1):
        monkeypatch.setattr(ulids.time, "time_ns", lambda at=milliseconds: at * 1_000_000)
        made.append(ulids.new_ulid())
    assert made == sorted(made)
    assert made[-1].startswith("7ZZZZZZZZZ")


def test_names_of_one_millisecond_do_not_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ulids.time, "time_ns", lambda: 1_763_000_000_000_000_000)
    made = {ulids.new_ulid() for _ in range(1000)}
    assert len(made) == 1000
    assert len({name[:10] for name in made}) == 1
