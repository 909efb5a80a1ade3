"""`enhance` and `tokens` from the command line, against a loopback Claude."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from gpuctl import cli
from gpuctl.console import Console
from gpuctl.context import Context
from tests.support.claude_stub import claude_stub, message, problem

KEY = "sk-ant-test-0123456789abcdef"


class Terminal:
    """Runs command lines in a folder of their own and keeps what they print."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.environ = {
            "XDG_CACHE_HOME": str(folder / "cache"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "XDG_STATE_HOME": str(folder / "state"),
            **environ,
        }
        self.folder = folder

    def run(self, *argv: str) -> int:
        self._out, self._err = io.StringIO(), io.StringIO()
        console = Console(stdout=self._out, stderr=self._err, environ=self.environ)
        context = Context(console, environ=self.environ, project_folder=self.folder)
        return cli.main(argv, context=context)

    @property
    def out(self) -> str:
        return self._out.getvalue()

    @property
    def err(self) -> str:
        return self._err.getvalue()

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)["data"]
        return found


def test_tokens_names_the_words_that_clip_will_not_see(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    assert terminal.run("tokens", " ".join(["lighthouse"] * 76 + ["fox"])) == 0
    assert terminal.out == "CLIP 77/77 (−2) · T5 ≈169/512\nCLIP will not see: lighthouse fox\n"


def test_tokens_of_a_model_without_clip(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    assert terminal.run("tokens", "a fox", "--model", "z-image-turbo", "--json") == 0
    assert (terminal.data["clip_tokens"], terminal.data["model"]) == (None, "z-image-turbo")


def test_tokens_agrees_with_transformers_when_asked(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    assert terminal.run("tokens", "a naïve café, 8k", "--reference") == 0
    assert terminal.out.splitlines()[-1].endswith("by transformers: every id agrees")


def test_enhance_prints_the_prompt_alone_on_stdout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("a fox\n"))
    with claude_stub(message("a lean fox")) as stub:
        terminal = Terminal(tmp_path, ANTHROPIC_API_KEY=KEY, ANTHROPIC_BASE_URL=stub.url)
        assert terminal.run("enhance", "-") == 0
        assert terminal.out == "a lean fox\n"
        assert terminal.err == "asking claude-haiku-5-5\na {+lean+} fox\n"
        assert terminal.run("enhance", "a fox", "--json") == 0
        assert terminal.data["is_cached"]
        assert terminal.data["diff"] == [["=", "a"], ["+", "lean"], ["=", "fox"]]
        assert len(stub.requests) == 1


def test_enhance_warns_and_returns_the_prompt_when_claude_cannot(tmp_path: Path) -> None:
    with claude_stub(problem(401, "authentication_error", f"bad key {KEY}")) as stub:
        terminal = Terminal(tmp_path, ANTHROPIC_API_KEY=KEY, ANTHROPIC_BASE_URL=stub.url)
        assert terminal.run("enhance", "a fox") == 0
    assert terminal.out == "a fox\n"
    assert "warning: Anthropic refused the API key: bad key ***" in terminal.err


def test_enhance_without_a_key_says_where_it_goes(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    assert terminal.run("enhance", "a fox") == 4
    assert "ANTHROPIC_API_KEY" in terminal.err
