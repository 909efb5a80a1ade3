"""The accounts gpuctl can use, and how each credential is checked: by using it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from gpuctl.clients import accounts, aws_sts
from gpuctl.config import Settings
from gpuctl.errors import ApiError, ConfigError, CredentialsError, GpuctlError, TimedOut
from gpuctl.models import Secret
from gpuctl.services.findings import counted

# `refused`: the service said no; `unreachable`: nobody knows, it could not be asked.
Answer = Literal["ok", "refused", "unreachable", "missing"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What using a credential showed."""

    answer: Answer
    found: str
    remedy: str | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """One value of an account: its configuration key, its flag and how it is asked for."""

    key: str
    flag: str
    text: str
    is_secret: bool = True


@dataclass(frozen=True, slots=True)
class Values:
    """The configuration, with what was just answered above it."""

    settings: Settings
    answered: Mapping[str, str] = field(default_factory=dict)

    def text(self, key: str) -> str | None:
        return self.answered.get(key) or self.settings.text_or_none(key) or None

    def secret(self, key: str) -> Secret | None:
        found = self.text(key)
        return Secret(found) if found else None


Use = Callable[[Values, float], str]


@dataclass(frozen=True, slots=True)
class Account:
    """`use` raises CredentialsError when refused and gives back whose credential it is."""

    name: str
    title: str
    why: str
    where: str
    questions: tuple[Question, ...]
    use: Use
    is_required: bool = False

    def origins(self, values: Values) -> str:
        """Where the configured values come from, for messages; empty when they were just given."""
        keys = [one.key for one in self.questions if one.key not in values.answered]
        found = {values.settings.value(key).origin for key in keys} - {"default"}
        return ", ".join(sorted(found))

    def is_set(self, values: Values) -> bool:
        return all(values.text(question.key) for question in self.questions)


def check(account: Account, values: Values, timeout_s: float) -> Verdict:
    """Never raises for what a service or the network does."""
    if not account.is_set(values) and not (account.name == "aws" and has_aws(values)):
        return Verdict("missing", "not set", account.where)
    try:
        return Verdict("ok", account.use(values, timeout_s))
    except CredentialsError as error:
        origin = account.origins(values)
        said = f"{error.message} (from {origin})" if origin else error.message
        return Verdict("refused", said, error.hint or account.where)
    except ConfigError as error:
        return Verdict("refused", error.message, error.hint)
    except ApiError as error:
        answer: Answer = "refused" if error.status in (400, 404) else "unreachable"
        return Verdict(answer, error.message, error.hint)
    except (TimedOut, GpuctlError) as error:
        return Verdict("unreachable", error.message, error.hint)


def has_aws(values: Values) -> bool:
    """AWS is set up: by its keys, a profile, or the files that its own tools write."""
    named = values.text("aws.profile") or values.text("aws.secret_access_key")
    return bool(named) or (Path.home() / ".aws/credentials").is_file()


def aws_access(values: Values) -> aws_sts.AwsAccess:
    """The keys win over a profile; without either boto3 searches by itself."""
    return aws_sts.AwsAccess(
        profile=values.text("aws.profile"),
        region=values.text("aws.region"),
        access_key_id=values.text("aws.access_key_id"),
        secret_access_key=values.secret("aws.secret_access_key"),
        session_token=values.secret("aws.session_token"),
        endpoint_url=values.text("aws.endpoint_url"),
    )


def _runpod(values: Values, timeout_s: float) -> str:
    key = _secret(values, "runpod.api_key")
    reply = accounts.runpod(str(values.text("runpod.api_url")), key, timeout_s)
    pods = reply.document().get("pods")
    if not isinstance(pods, list):
        raise ApiError("RunPod answered without the list of pods")
    return f"accepted, {counted(len(pods), 'pod')}"


def _anthropic(values: Values, timeout_s: float) -> str:
    return accounts.anthropic(
        values.text("claude.api_url"),
        _secret(values, "claude.api_key"),
        str(values.text("claude.model")),
        timeout_s,
    )


def _huggingface(values: Values, timeout_s: float) -> str:
    url, token = str(values.text("huggingface.api_url")), _secret(values, "huggingface.token")
    return accounts.huggingface(url, token, timeout_s)


def _dockerhub(values: Values, timeout_s: float) -> str:
    token = _secret(values, "dockerhub.token")
    url, user = str(values.text("dockerhub.api_url")), str(values.text("dockerhub.username"))
    return accounts.dockerhub(url, user, token, timeout_s)


def _aws(values: Values, timeout_s: float) -> str:
    return aws_sts.caller(aws_access(values), timeout_s)


def _secret(values: Values, key: str) -> Secret:
    found = values.secret(key)
    if found is None:
        raise CredentialsError(f"{key} is not set")
    return found


ACCOUNTS: tuple[Account, ...] = (
    Account(
        "runpod",
        "RunPod",
        "rents the machines",
        "console.runpod.io → Settings → API keys",
        (Question("runpod.api_key", "--runpod-key-file", "RunPod API key"),),
        _runpod,
        is_required=True,
    ),
    Account(
        "huggingface",
        "Hugging Face",
        "downloads gated models, FLUX.1 [dev] among them",
        "huggingface.co → Settings → Access Tokens (role: read)",
        (Question("huggingface.token", "--hf-token-file", "Hugging Face token"),),
        _huggingface,
    ),
    Account(
        "anthropic",
        "Anthropic",
        "lets Claude rewrite prompts (--enhance)",
        "the Anthropic console → API keys",
        (Question("claude.api_key", "--anthropic-key-file", "Anthropic API key"),),
        _anthropic,
    ),
    Account(
        "dockerhub",
        "Docker Hub",
        "pushes images of your own",
        "Docker Hub → Account settings → Personal access tokens",
        (
            Question("dockerhub.username", "--dockerhub-user", "Docker Hub user", is_secret=False),
            Question("dockerhub.token", "--dockerhub-token-file", "Docker Hub token"),
        ),
        _dockerhub,
    ),
    Account(
        "aws",
        "AWS",
        "rehearses images on EC2",
        "the AWS console → IAM → Users → Security credentials, or: aws configure",
        (
            Question("aws.access_key_id", "--aws-key-id", "AWS access key id", is_secret=False),
            Question("aws.secret_access_key", "--aws-secret-file", "AWS secret access key"),
        ),
        _aws,
    ),
)
