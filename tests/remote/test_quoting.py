"""Words stay words on their way through a shell, and the workspace is found on the machine."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuctl.remote import quoting


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_a_joined_line_splits_into_the_same_words(words: list[str]) -> None:
    assert shlex.split(quoting.join(words)) == words


def resolved(workspace: str | None, **env: str) -> str:
    argv = quoting.with_workspace(workspace, 'echo "$GPUCTL_WORKSPACE|$W|$1|$2"\n', "a b", "$c")
    environment = {"PATH": os.environ["PATH"], **env}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True)
    root, again, *rest = done.stdout.rstrip("\n").split("|")
    assert rest == ["a b", "$c"]
    assert root == again
    return root


def test_the_configured_workspace_wins_and_is_made(tmp_path: Path) -> None:
    wanted = tmp_path / "it's $(here)" / "ws"
    assert resolved(str(wanted), GPUCTL_WORKSPACE="/elsewhere", HOME="/nowhere") == str(wanted)
    assert wanted.is_dir()


def test_without_one_the_machine_decides(tmp_path: Path) -> None:
    assert resolved(None, GPUCTL_WORKSPACE=str(tmp_path / "ws"), HOME="/nowhere") == str(
        tmp_path / "ws"
    )


def test_a_tilde_means_the_home_of_the_machine(tmp_path: Path) -> None:
    assert resolved("~/work", HOME=str(tmp_path)) == f"{tmp_path}/work"


@pytest.mark.parametrize("impossible", ["/dev/null/ws", "/proc/ws"])
def test_a_workspace_that_cannot_be_made_falls_back_to_the_home(
    tmp_path: Path, impossible: str
) -> None:
    root = resolved(None, GPUCTL_WORKSPACE=impossible, HOME=str(tmp_path))
    assert root == f"{tmp_path}/.gpuctl"
