"""A credential is checked by using it, and every way it can fail is told apart."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gpuctl import config, resources
from gpuctl.services.credentials import ACCOUNTS, Values, Verdict, check
from tests.support.accounts_stub import (
    ANTHROPIC_KEY,
    AWS_KEY_ID,
    AWS_SECRET,
    DOCKER_TOKEN,
    HF_TOKEN,
    RUNPOD_KEY,
    Accounts,
    accounts_stub,
)

GOOD = {
    "runpod": {"runpod.api_key": RUNPOD_KEY},
    "anthropic": {"claude.api_key": ANTHROPIC_KEY},
    "huggingface": {"huggingface.token": HF_TOKEN},
    "dockerhub": {"dockerhub.username": "op", "dockerhub.token": DOCKER_TOKEN},
    "aws": {"aws.access_key_id": AWS_KEY_ID, "aws.secret_access_key": AWS_SECRET},
}
BY_NAME = {account.name: account for account in ACCOUNTS}
WORD = "wrong-0123456789"


@pytest.fixture(autouse=True)
def _only_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="module")
def stub() -> Iterator[Accounts]:
    with accounts_stub() as found:
        yield found


def verdict(name: str, environ: dict[str, str], timeout_s: float = 10.0, **answers: str) -> Verdict:
    settings = config.load(
        schema=resources.bundled("config_defaults.yaml"),
        cache_folder=None,
        environ=environ,
        project_folder=Path.cwd(),
        user_config=Path("nowhere"),
    )
    given: dict[str, Any] = {**GOOD[name], **answers}
    return check(BY_NAME[name], Values(settings, given), timeout_s)


@pytest.mark.parametrize(
    ("name", "whose"),
    [
        ("runpod", "accepted, 0 pods"),
        ("anthropic", "1 model"),
        ("huggingface", "op (read token)"),
        ("dockerhub", "op"),
        ("aws", "arn:aws:iam::123456789012:user/op"),
    ],
)
def test_a_right_key_is_accepted_and_tells_whose_it_is(
    stub: Accounts, name: str, whose: str
) -> None:
    assert verdict(name, stub.environ) == Verdict("ok", whose)


@pytest.mark.parametrize("name", list(GOOD))
def test_a_wrong_key_is_refused_and_never_shown(stub: Accounts, name: str) -> None:
    key = list(GOOD[name])[0 if name == "aws" else -1]
    found = verdict(name, stub.environ, **{key: WORD})
    assert found.answer == "refused"
    assert WORD not in f"{found}"
    assert found.remedy


@pytest.mark.parametrize("name", list(GOOD))
def test_without_a_network_nobody_says_that_the_key_is_wrong(name: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    found = verdict(name, Accounts(port).environ)
    assert found.answer == "unreachable"


@pytest.mark.parametrize("name", list(GOOD))
def test_a_service_that_never_answers_is_given_up(name: str) -> None:
    with accounts_stub() as slow:
        slow.hanging = {"GET /", "POST /"}
        assert verdict(name, slow.environ, 0.3).answer == "unreachable"


@pytest.mark.parametrize("name", ["runpod", "huggingface", "dockerhub"])
def test_a_server_error_is_no_refusal(name: str) -> None:
    with accounts_stub() as broken:
        broken.answers = {"GET /": (503, "<html>"), "POST /": (503, "<html>")}
        assert verdict(name, broken.environ).answer == "unreachable"


def test_a_key_of_too_little_scope_is_told_apart(stub: Accounts) -> None:
    with accounts_stub() as narrow:
        narrow.answers = {"GET /v2/pods": (403, {"detail": "missing permission"})}
        found = verdict("runpod", narrow.environ)
    assert found.answer == "refused"
    assert found.found == "the key may not read /pods: missing permission"


def test_a_model_that_is_not_offered_any_more_is_named(stub: Accounts) -> None:
    found = verdict("anthropic", {**stub.environ, "CLAUDE_MODEL": "claude-2"})
    assert found.answer == "refused"
    assert found.found == "the key works, but there is no model claude-2"
    assert "claude-haiku-5-5" in str(found.remedy)


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("runpod", "GPUCTL_RUNPOD__API_URL"),
        ("huggingface", "HF_ENDPOINT"),
        ("dockerhub", "GPUCTL_DOCKERHUB__API_URL"),
    ],
)
def test_a_key_is_never_sent_to_a_host_that_is_not_its_own(name: str, variable: str) -> None:
    found = verdict(name, {variable: "https://example.invalid/v2"})
    assert found.answer == "refused"
    assert "not sent to https://example.invalid" in found.found


def test_what_is_not_set_is_missing_not_refused(stub: Accounts) -> None:
    for name, values in GOOD.items():
        assert verdict(name, stub.environ, **dict.fromkeys(values, "")).answer == "missing"


def test_aws_profiles_work_as_they_do_elsewhere(stub: Accounts, private_home: Path) -> None:
    (private_home / ".aws").mkdir()
    (private_home / ".aws/credentials").write_text(
        f"[rehearsal]\naws_access_key_id = {AWS_KEY_ID}\naws_secret_access_key = {AWS_SECRET}\n"
    )
    empty = dict.fromkeys(GOOD["aws"], "")
    environ = {**stub.environ, "AWS_PROFILE": "rehearsal"}
    assert verdict("aws", environ, **empty).answer == "ok"
    unknown = verdict("aws", {**environ, "AWS_PROFILE": "nobody"}, **empty)
    assert (unknown.answer, "nobody" in unknown.found) == ("refused", True)
