"""Writing `.env` loses nothing that a person put there, and nobody else may read it."""

from __future__ import annotations

import stat
import subprocess
from io import StringIO
from pathlib import Path

import pytest
from dotenv import dotenv_values
from hypothesis import given
from hypothesis import strategies as st

from gpuctl.errors import ConfigError, UsageError
from gpuctl.services.env_file import merged, write

BEFORE = """\
# my keys

export RUNPOD_API_KEY=old  # the team's
UNKNOWN_NAME='kept as it is'
#ANTHROPIC_API_KEY=commented
HF_TOKEN=
RUNPOD_API_KEY="twice"
"""


def test_comments_order_and_unknown_names_are_kept() -> None:
    after = merged(BEFORE, {"RUNPOD_API_KEY": "rpa_1", "HF_TOKEN": "hf_1", "NEW": "x y"})
    assert (
        after
        == """\
# my keys

export RUNPOD_API_KEY=rpa_1  # the team's
UNKNOWN_NAME='kept as it is'
#ANTHROPIC_API_KEY=commented
HF_TOKEN=hf_1
RUNPOD_API_KEY=rpa_1
NEW='x y'
"""
    )


def test_setting_what_is_set_changes_no_byte() -> None:
    once = merged(BEFORE, {"HF_TOKEN": "a b"})
    assert merged(once, {"HF_TOKEN": "a b"}) == once


def test_a_file_without_a_last_line_end_gets_one_before_the_new_name() -> None:
    assert merged("A=1", {"B": "2"}) == "A=1\nB=2\n"


@pytest.mark.parametrize(
    ("line", "after"),
    [
        ("A='x # y' # why", "A=1 # why"),
        ('A="x # y"', "A=1"),
        ("A=x#y", "A=1"),
        ("A=a b # c # d", "A=1 # c # d"),
        ("A= # only a comment", "A=1 # only a comment"),
        ("  A=1", "  A=1"),
    ],
)
def test_the_comment_behind_a_value_stays_and_what_only_looks_like_one_goes(
    line: str, after: str
) -> None:
    assert merged(line, {"A": "1"}) == after


def test_windows_line_ends_stay() -> None:
    assert merged("A=1\r\nB=2\r\n", {"A": "3"}) == "A=3\r\nB=2\r\n"


@given(st.text(st.characters(codec="ascii", min_codepoint=32, max_codepoint=126)))
def test_any_line_of_text_comes_back_as_it_went_in(value: str) -> None:
    assert dotenv_values(stream=StringIO(merged("", {"A": value})), interpolate=False)["A"] == value


def test_the_shell_reads_the_same_values(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    write(path, {"A": "two words", "B": "a#b$HOME", "C": "plain"})
    said = subprocess.run(
        ["sh", "-c", f'. {path}; printf "%s|%s|%s" "$A" "$B" "$C"'], capture_output=True, text=True
    )
    assert said.stdout == "two words|a#b$HOME|plain"


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\0b"])
def test_a_value_of_several_lines_is_refused(value: str) -> None:
    with pytest.raises(UsageError):
        merged("", {"A": value})


def test_the_file_is_closed_to_others_even_when_it_was_open(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("A=1\n")
    path.chmod(0o644)
    write(path, {"B": "2"})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == "A=1\nB=2\n"
    assert [one.name for one in tmp_path.glob(".env*")] == [".env"]


def test_a_copy_is_kept_only_when_asked_for(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("A=1\n")
    kept = write(path, {"A": "2"}, backup=True)
    assert kept is not None
    assert (kept.read_text(), stat.S_IMODE(kept.stat().st_mode)) == ("A=1\n", 0o600)


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("A=1\n")
    (tmp_path / ".env").symlink_to("real")
    write(tmp_path / ".env", {"A": "2"})
    assert (tmp_path / ".env").is_symlink()
    assert (tmp_path / "real").read_text() == "A=2\n"


def test_what_is_no_text_or_no_file_is_named_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "folder").mkdir()
    for name in ("binary", "folder"):
        with pytest.raises(ConfigError, match=name):
            write(tmp_path / name, {"A": "1"})
    assert (tmp_path / "binary").read_bytes() == b"\xff\xfe\x00"
