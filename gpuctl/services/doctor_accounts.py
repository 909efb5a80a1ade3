"""Checks of the other accounts: each credential that is set is used once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from gpuctl.clients import accounts
from gpuctl.errors import GatedModel, GpuctlError
from gpuctl.services import credentials
from gpuctl.services.credentials import Account, Values
from gpuctl.services.doctor import Bench, Check
from gpuctl.services.findings import Finding, fail, ok, skipped, warn


def account(bench: Bench, *, of: Account) -> Sequence[Finding]:
    """One that is not set is left out; one that is set and refused fails whatever needs it."""
    if bench.is_sim:
        return [skipped(of.name, "the simulator needs none")]
    verdict = credentials.check(of, Values(bench.settings), bench.timeout_s)
    if verdict.answer == "missing":
        return [skipped(of.name, f"not set; it {of.why}")]
    if verdict.answer == "ok":
        return [ok(of.name, verdict.found)]
    if verdict.answer == "unreachable":
        return [warn(of.name, f"could not be checked: {verdict.found}", verdict.remedy)]
    return [fail(of.name, verdict.found, verdict.remedy)]


def licence(bench: Bench) -> Sequence[Finding]:
    """Whether the default model may be downloaded: gated ones want a token and a click."""
    name = bench.settings.text("flux.default_model")
    model = bench.settings.table("models").get(name) or {}
    repo, token = str(model.get("repo", "")), bench.settings.secret("huggingface.token")
    if bench.is_sim or not model.get("gated"):
        return [ok("licence", f"{name} needs none" if not bench.is_sim else "pretended")]
    if token is None:
        remedy = f"accept it at {model.get('licence_url')}, then: gpuctl setup"
        return [warn("licence", f"{name} is gated and there is no Hugging Face token", remedy)]
    url = bench.settings.text("huggingface.api_url")
    try:
        accounts.huggingface_model(url, token, repo, bench.timeout_s)
    except GatedModel as error:
        return [fail("licence", error.message, error.hint)]
    except GpuctlError as error:
        return [warn("licence", f"{repo} could not be checked: {error.message}", error.hint)]
    return [ok("licence", f"{repo} may be downloaded")]


CHECKS = (
    *(
        # The SDKs of Anthropic and AWS take seconds to load on a busy computer.
        Check(one.name, partial(account, of=one), 30.0)
        for one in credentials.ACCOUNTS
        if not one.is_required
    ),
    Check("licence", licence),
)
