"""Anthropic's Messages API through its SDK, as one call; `python -m` runs it in its own process."""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TextIO

from gpuctl.errors import ApiError, CredentialsError, GpuctlError, TimedOut
from gpuctl.models import Json, Secret

if TYPE_CHECKING:
    import anthropic
    from anthropic.types import Message

MAX_RETRIES = 2


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Claude's answer. `stop_reason` is the API's word, None when the answer was cut off."""

    text: str
    stop_reason: str | None
    model: str
    input_tokens: int
    output_tokens: int


def rewrite(
    prompt: str,
    *,
    system: str,
    model: str,
    api_key: Secret,
    base_url: str | None,
    max_tokens: int,
    timeout_s: float,
) -> Rewrite:
    """Asks once; the SDK retries twice what is worth retrying, `timeout_s` is for each attempt.

    Raises CredentialsError (401, 403), TimedOut, and ApiError for everything else.
    """
    if not api_key:
        # The SDK would raise a bare TypeError (feasibility.md §10).
        raise missing_key()
    import anthropic  # noqa: PLC0415  1.3 s of CPU

    with anthropic.Anthropic(
        api_key=api_key.reveal(), base_url=base_url, timeout=timeout_s, max_retries=MAX_RETRIES
    ) as client:
        try:
            message = _ask(client, prompt, system=system, model=model, max_tokens=max_tokens)
        except anthropic.APIStatusError as error:
            raise _refused(error, model) from None
        except anthropic.APITimeoutError:
            raise TimedOut(f"Claude did not answer within {timeout_s:g} s") from None
        except anthropic.APIConnectionError as error:
            raise ApiError(f"Claude cannot be reached: {error.__cause__ or error}") from None
        except anthropic.AnthropicError as error:
            raise ApiError(f"Claude's answer cannot be used: {error}") from None
    return Rewrite(
        # Thinking may come first; only text blocks are the answer.
        text="".join(block.text for block in message.content if block.type == "text"),
        stop_reason=message.stop_reason,
        model=str(message.model),
        input_tokens=message.usage.input_tokens,
        output_tokens=message.usage.output_tokens,
    )


def missing_key() -> CredentialsError:
    return CredentialsError(
        "there is no Anthropic API key, so Claude cannot rewrite the prompt",
        hint="put ANTHROPIC_API_KEY=… into .env; gpuctl flux also works with --no-enhance",
    )


def _ask(
    client: anthropic.Anthropic, prompt: str, *, system: str, model: str, max_tokens: int
) -> Message:
    import anthropic  # noqa: PLC0415  loaded by the caller

    messages: list[anthropic.types.MessageParam] = [{"role": "user", "content": prompt}]
    try:
        return client.messages.create(
            model=model,
            max_tokens=max_tokens,
            system=system,
            messages=messages,
            # Thinking is on by default in current models and would eat the few tokens allowed.
            thinking={"type": "disabled"},
        )
    except anthropic.BadRequestError as error:
        if "thinking" not in str(error):
            raise
        return client.messages.create(
            model=model, max_tokens=max_tokens, system=system, messages=messages
        )


def _refused(error: anthropic.APIStatusError, model: str) -> GpuctlError:
    details = {"status": error.status_code, "request_id": error.request_id}
    said = _message_of(error)
    if error.status_code in (401, 403):
        return CredentialsError(
            f"Anthropic refused the API key: {said}",
            hint="check ANTHROPIC_API_KEY (gpuctl config show claude.api_key)",
            details=details,
        )
    hints = {
        404: f"is '{model}' still offered? gpuctl config set claude.model NAME",
        402: "the account has no credit left",
        429: "too many requests; try again in a minute",
        529: "Claude is overloaded; try again in a minute",
    }
    return ApiError(
        f"Claude answered {error.status_code}: {said}",
        status=error.status_code,
        hint=hints.get(error.status_code),
        details=details,
    )


def _message_of(error: anthropic.APIStatusError) -> str:
    body = error.body
    inner = body.get("error") if isinstance(body, dict) else None
    said = inner.get("message") if isinstance(inner, dict) else None
    return str(said or error.message).strip()[:300]


def serve(source: TextIO, sink: TextIO) -> None:
    """One request as JSON from `source`, the key with it; one answer or error to `sink`."""
    asked: Json = json.loads(source.read())
    answer: Json
    try:
        api_key = Secret(str(asked.pop("api_key")))
        answer = {"answer": asdict(rewrite(**asked, api_key=api_key))}
    except GpuctlError as error:
        answer = {"error": {"code": error.code, "message": error.message, "hint": error.hint}}
    sink.write(json.dumps(answer))
    sink.flush()


if __name__ == "__main__":
    # Ctrl-C reaches this process too; the one that started it does the talking.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    serve(sys.stdin, sys.stdout)
