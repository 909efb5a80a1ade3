"""Claude may rewrite a prompt; whatever it or the network does, there is a prompt to paint."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gpuctl.clients import claude
from gpuctl.clients.claude import Rewrite
from gpuctl.errors import ApiError, ConfigError, CredentialsError, TimedOut
from gpuctl.models import Secret
from gpuctl.services import enhancement
from gpuctl.services.enhancement import Enhancement, Request
from gpuctl.services.enhancement_answer import cleaned, objection
from tests.support.claude_stub import Reply, Stub, claude_stub, message, problem

KEY = "sk-ant-test-0123456789abcdef"
BETTER = "A red fox standing in fresh snow, low winter sun behind it, 85mm lens, quiet mood."


@pytest.fixture(autouse=True)
def _no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("ANTHROPIC_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def a_request(stub: Stub | str, **changes: Any) -> Request:
    values: dict[str, Any] = {
        "prompt": "a red fox in snow",
        "system": "Rewrite it.",
        "model": "claude-haiku-5-5",
        "api_key": Secret(KEY),
        "base_url": stub if isinstance(stub, str) else stub.url,
        **changes,
    }
    return Request(**values)


def enhanced(*replies: Reply, **changes: Any) -> tuple[Enhancement, Stub]:
    with claude_stub(*replies) as stub, enhancement.start(a_request(stub, **changes)) as pending:
        return pending.result(), stub


def rewritten(stub: Stub, timeout_s: float = 10.0) -> Rewrite:
    """The client alone, in this process."""
    return claude.rewrite(
        "a red fox",
        system="Rewrite it.",
        model="claude-haiku-5-5",
        api_key=Secret(KEY),
        base_url=stub.url,
        max_tokens=400,
        timeout_s=timeout_s,
    )


def test_the_answer_replaces_the_prompt_and_the_key_travels_in_the_header_alone() -> None:
    # Modules that lie about in the current folder must not get to see the key.
    for name in ("json", "anthropic", "signal"):
        Path(f"{name}.py").write_text("raise SystemExit('stolen')")
    found, stub = enhanced(message(BETTER))
    assert (found.text, found.warning, found.is_enhanced) == (BETTER, None, True)
    assert (found.original, found.model) == ("a red fox in snow", "claude-haiku-5-5")
    assert (found.input_tokens, found.output_tokens) == (21, 12)
    [asked] = stub.requests
    assert asked["path"] == "/v1/messages"
    headers = {name.lower(): value for name, value in asked["headers"].items()}
    assert headers["authorization"] == f"Bearer {KEY}"
    assert asked["body"]["system"] == "Rewrite it."
    assert asked["body"]["messages"] == [{"role": "user", "content": "a red fox in snow"}]
    assert asked["body"]["max_tokens"] == 400
    assert KEY not in str(asked["body"])


def test_a_rate_limit_and_an_overload_are_waited_out() -> None:
    found, stub = enhanced(problem(429, "rate_limit_error"), message(BETTER))
    assert found.text == BETTER
    assert len(stub.requests) == 2


def test_three_overloads_keep_the_prompt_and_say_so() -> None:
    found, stub = enhanced(problem(529, "overloaded_error", "Overloaded"))
    assert found.text == found.original == "a red fox in snow"
    assert found.warning == "Claude answered 529: Overloaded; your prompt is used as it is"
    assert len(stub.requests) == 3


@pytest.mark.parametrize(
    ("reply", "warning"),
    [
        (message("I can't.", stop_reason="refusal"), "Claude declined to rewrite this prompt"),
        (problem(401, "authentication_error", "bad key"), "Anthropic refused the API key: bad key"),
    ],
)
def test_a_refusal_of_the_prompt_or_of_the_key_keeps_the_prompt(reply: Reply, warning: str) -> None:
    found, _ = enhanced(reply)
    assert found.text == "a red fox in snow"
    assert found.warning == f"{warning}; your prompt is used as it is"


@pytest.mark.parametrize(
    ("text", "stop_reason", "warning"),
    [
        (BETTER, "end_turn", None),
        ("", "refusal", "Claude declined to rewrite this prompt"),
        ("", "end_turn", "Claude's answer was empty"),
        (' "" ', "end_turn", "Claude's answer was empty"),
        (BETTER, "max_tokens", "Claude's answer was cut off (max_tokens)"),
        (BETTER, None, "Claude's answer was cut off (the connection ended)"),
        ("fox " * 400, "end_turn", "Claude's answer was too long for a prompt (400 words)"),
    ],
)
def test_what_is_no_prompt_is_not_painted(
    text: str, stop_reason: str | None, warning: str | None
) -> None:
    with claude_stub(message(text, stop_reason=stop_reason)) as stub:
        answer = rewritten(stub)
    assert objection(cleaned(answer.text), answer.stop_reason, "a red fox") == warning


@pytest.mark.parametrize(
    ("reply", "error", "said"),
    [
        (problem(403, "permission_error", "no"), CredentialsError, "refused the API key: no"),
        (problem(404, "not_found_error", "model: x"), ApiError, "answered 404: model: x"),
        (problem(402, "billing_error", "no credit"), ApiError, "answered 402: no credit"),
        (Reply(400), ApiError, "answered 400"),
        (Reply(hold=threading.Event()), TimedOut, "did not answer within 0.2 s"),
    ],
)
def test_what_the_sdk_raises_gets_our_names(
    reply: Reply, error: type[Exception], said: str
) -> None:
    with claude_stub(reply) as stub, pytest.raises(error, match=said):
        rewritten(stub, timeout_s=0.2)


def test_thinking_before_the_answer_is_not_part_of_it() -> None:
    thought = {"type": "thinking", "thinking": "a fox, hm", "signature": "s"}
    with claude_stub(message(BETTER, before=[thought])) as stub:
        assert rewritten(stub).text == BETTER


def test_a_model_that_must_think_is_asked_again_without_forbidding_it() -> None:
    refusal = problem(400, "invalid_request_error", "thinking.disabled is not supported")
    with claude_stub(refusal, message(BETTER)) as stub:
        assert rewritten(stub).text == BETTER
    assert ["thinking" in asked["body"] for asked in stub.requests] == [True, False]


def test_nobody_listening_keeps_the_prompt() -> None:
    with claude_stub(message(BETTER)) as stub:
        gone = stub.url
    with enhancement.start(a_request(gone)) as pending:
        found = pending.result()
    assert found.text == "a red fox in snow"
    assert "Claude cannot be reached" in str(found.warning)


def test_a_slow_answer_is_given_up_in_time() -> None:
    slow = Reply(hold=threading.Event())
    with claude_stub(slow) as stub, enhancement.start(a_request(stub)) as pending:
        assert stub.arrived.wait(20)
        began = time.monotonic()
        found = pending.result(timeout_s=0.2)
        assert time.monotonic() - began < 2
    assert found.text == "a red fox in snow"
    assert "Claude did not answer within" in str(found.warning)


def test_the_key_is_in_neither_the_arguments_nor_the_environment_of_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.setenv("GPUCTL_CLAUDE__API_KEY", KEY)
    slow = Reply(hold=threading.Event())
    with claude_stub(slow) as stub, enhancement.start(a_request(stub)) as pending:
        assert stub.arrived.wait(20)
        process = pending._process
        assert process is not None
        for name in ("cmdline", "environ"):
            assert KEY.encode() not in Path(f"/proc/{process.pid}/{name}").read_bytes()
        pending.cancel()
        assert process.poll() is not None
    assert pending.result().warning == "the rewrite was cancelled; your prompt is used as it is"


def test_the_second_time_nothing_is_asked_and_no_key_is_on_disk(tmp_path: Path) -> None:
    with claude_stub(message(BETTER)) as stub:
        request = a_request(stub, cache_folder=tmp_path)
        with enhancement.start(request) as first:
            assert not first.result().is_cached
        second = enhancement.start(request)
        assert second._process is None
        assert second.result().text == BETTER
        assert second.result().is_cached
        for change in ({"system": "Else."}, {"model": "claude-opus-5-5"}, {"prompt": "b"}):
            assert enhancement._recall(replace(request, **change)) is None
        assert len(stub.requests) == 1
    assert all(KEY not in file.read_text() for file in tmp_path.rglob("*.json"))


def test_a_failure_is_not_cached_and_a_damaged_cache_is_ignored(tmp_path: Path) -> None:
    found, stub = enhanced(problem(400, "invalid_request_error"), cache_folder=tmp_path)
    assert found.warning
    assert not list(tmp_path.rglob("*.json"))
    file = enhancement._cache_file(a_request(stub, cache_folder=tmp_path))
    assert file is not None
    file.parent.mkdir()
    for damaged in ("[", "[]", "{}", "null"):
        file.write_text(damaged)
        assert enhancement._recall(a_request(stub, cache_folder=tmp_path)) is None


def test_without_a_key_an_explicit_wish_is_an_error_and_a_default_is_a_warning() -> None:
    with pytest.raises(CredentialsError) as caught:
        enhancement.start(a_request("http://127.0.0.1:1", api_key=None))
    assert "ANTHROPIC_API_KEY" in str(caught.value.hint)
    pending = enhancement.start(a_request("http://127.0.0.1:1", api_key=None, is_explicit=False))
    assert "no Anthropic API key" in str(pending.result().warning)


def test_starting_does_not_wait_for_the_sdk() -> None:
    with (
        claude_stub(message(BETTER)) as stub,
        enhancement.start(a_request(stub, prompt="fox " * 4000)),
    ):
        assert not stub.arrived.is_set()  # the SDK alone takes 1.3 s; this is a process start


def test_the_system_prompt_of_the_folder_wins_over_the_bundled_one(tmp_path: Path) -> None:
    assert "FLUX" in enhancement.read_system_prompt(None, tmp_path)
    own = tmp_path / "prompts" / "claude_system.txt"
    own.parent.mkdir()
    own.write_text("Mine.\n")
    assert enhancement.read_system_prompt(None, tmp_path) == "Mine."
    own.write_text("Changed.")
    assert enhancement.read_system_prompt(None, tmp_path) == "Changed."
    (tmp_path / "other.txt").write_text("Other.")
    assert enhancement.read_system_prompt("other.txt", tmp_path) == "Other."
    with pytest.raises(ConfigError, match=r"missing\.txt cannot be read"):
        enhancement.read_system_prompt("missing.txt", tmp_path)


@pytest.mark.parametrize(
    "answer",
    [
        "A fox.",
        '"A fox."',
        "“A fox.”",
        "```\nA fox.\n```",
        "```text\nA fox.\n```\n",
        "Here is the enhanced prompt:\n\nA fox.",
        'Sure! Here\'s a rewritten version:\n"A fox."',
        "**Enhanced prompt:** A fox.",
        "Prompt: A fox.",
        "  A\n  fox.  ",
    ],
)
def test_the_wrapping_of_an_answer_is_taken_off(answer: str) -> None:
    assert cleaned(answer) == "A fox."


@pytest.mark.parametrize(
    "answer",
    [
        'A sign that reads "OPEN"',
        '"OPEN" above a door, and below it "CLOSED"',
        "Here a fox sleeps: snow, dusk, 35mm.",
        "Of course a cat is the king of this street, 50mm.",
    ],
)
def test_a_prompt_that_only_looks_wrapped_is_left_alone(answer: str) -> None:
    assert cleaned(answer) == answer


def test_the_difference_is_told_word_by_word() -> None:
    assert enhancement.diff("a red fox in snow", "a lean red fox in deep snow") == [
        ("=", "a"),
        ("+", "lean"),
        ("=", "red fox in"),
        ("+", "deep"),
        ("=", "snow"),
    ]
    assert enhancement.diff("a b", "c b") == [("-", "a"), ("+", "c"), ("=", "b")]
