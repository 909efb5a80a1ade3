"""Uses a credential once, at the cheapest place that needs it, and tells whose it is."""

from __future__ import annotations

from gpuctl.clients.fetching import Reply, bearer, fetch
from gpuctl.errors import ApiError, CredentialsError, GatedModel, TimedOut
from gpuctl.models import Json, Secret

HUGGINGFACE_HOSTS = ("huggingface.co",)
DOCKERHUB_HOSTS = ("hub.docker.com",)
_BALANCE = "query { myself { clientBalance currentSpendPerHr spendLimit } }"


def runpod(api_url: str, key: Secret, timeout_s: float, path: str = "/pods") -> Reply:
    """GET with the key (runpod.md §1). Raises CredentialsError 401/403, ApiError for the rest."""
    reply = fetch("GET", f"{api_url}{path}", headers=bearer(api_url, key), timeout_s=timeout_s)
    return _accepted(reply, "RunPod", f"the key may not read {path.split('?')[0]}")


def runpod_balance(graphql_url: str, key: Secret, timeout_s: float) -> Json:
    """`clientBalance`, `currentSpendPerHr`, `spendLimit` in USD: GraphQL alone knows them, and
    ends in early 2027 (runpod.md §0). Raises ApiError, CredentialsError."""
    reply = fetch(
        "POST",
        graphql_url,
        headers=bearer(graphql_url, key),
        body={"query": _BALANCE},
        timeout_s=timeout_s,
    )
    data = _accepted(reply, "RunPod's GraphQL", "the key may not read the account").document()
    myself = (data.get("data") or {}).get("myself")
    if not isinstance(myself, dict):
        raise ApiError("RunPod's GraphQL did not tell the balance")
    return myself


def huggingface(api_url: str, token: Secret, timeout_s: float) -> str:
    """The user's name and the token's role. Raises CredentialsError, ApiError."""
    url = f"{api_url.rstrip('/')}/api/whoami-v2"
    reply = fetch("GET", url, headers=bearer(url, token, HUGGINGFACE_HOSTS), timeout_s=timeout_s)
    told = _accepted(reply, "Hugging Face", "the token may not read the account").document()
    role = ((told.get("auth") or {}).get("accessToken") or {}).get("role")
    return f"{told.get('name', 'unknown')}" + (f" ({role} token)" if role else "")


def huggingface_model(api_url: str, token: Secret, repo: str, timeout_s: float) -> None:
    """Whether the token may download `repo`. Raises GatedModel when its licence was not accepted,
    CredentialsError, ApiError."""
    url = f"{api_url.rstrip('/')}/api/models/{repo}/auth-check"
    reply = fetch("GET", url, headers=bearer(url, token, HUGGINGFACE_HOSTS), timeout_s=timeout_s)
    if reply.status == 403:
        raise GatedModel(
            f"the licence of {repo} was not accepted by this account",
            hint=f"accept it once at https://huggingface.co/{repo}",
        )
    _accepted(reply, "Hugging Face", "")


def dockerhub(api_url: str, username: str, token: Secret, timeout_s: float) -> str:
    """Logs in for ten minutes and throws the result away. Raises CredentialsError, ApiError.

    The source of the call: Docker Hub API, POST /v2/auth/token.
    """
    url = f"{api_url.rstrip('/')}/v2/auth/token"
    bearer(url, token, DOCKERHUB_HOSTS)  # the address is checked; the token travels in the body
    body = {"identifier": username, "secret": token.reveal()}
    reply = fetch("POST", url, body=body, timeout_s=timeout_s)
    _accepted(reply, "Docker Hub", "the token may not log in")
    return username


def anthropic(base_url: str | None, key: Secret, model: str, timeout_s: float) -> str:
    """Lists the models and tells whether `model` is among them (workloads.md §6.1).

    Raises CredentialsError, TimedOut, ApiError.
    """
    import anthropic as sdk  # noqa: PLC0415  1.3 s of CPU

    with sdk.Anthropic(
        api_key=key.reveal(), base_url=base_url, timeout=timeout_s, max_retries=0
    ) as client:
        try:
            listed = [found.id for found in client.models.list(limit=1000).data]
        except sdk.APIStatusError as error:
            raise _refused_by_anthropic(error) from None
        except sdk.APITimeoutError:
            raise TimedOut(f"Anthropic did not answer within {timeout_s:g} s") from None
        except sdk.AnthropicError as error:
            raise ApiError(f"Anthropic cannot be asked: {error}") from None
    if listed and model not in listed:
        raise ApiError(
            f"the key works, but there is no model {model}",
            status=404,
            hint=f"gpuctl config set claude.model NAME   one of: {', '.join(listed[:6])}",
        )
    return f"{len(listed)} model{'' if len(listed) == 1 else 's'}"


def _refused_by_anthropic(error: Exception) -> ApiError | CredentialsError:
    status = int(getattr(error, "status_code", 0))
    if status in (401, 403):
        return CredentialsError("Anthropic refused the key", details={"status": status})
    return ApiError(f"Anthropic answered {status}", status=status)


def _accepted(reply: Reply, service: str, forbidden: str) -> Reply:
    if reply.is_success:
        return reply
    said = f"{service} answered {reply.status}: {reply.said()}"
    details: dict[str, object] = {"status": reply.status}
    if reply.status == 401:
        raise CredentialsError(f"{service} refused the key: {reply.said()}", details=details)
    if reply.status == 403:
        raise CredentialsError(f"{forbidden}: {reply.said()}", details=details)
    raise ApiError(said, status=reply.status, details=details)
