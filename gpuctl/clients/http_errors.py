"""What an HTTP answer that is not a success means: the one table from status to error."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from gpuctl.errors import (
    ApiError,
    BudgetRefused,
    CredentialsError,
    GpuctlError,
    NotFound,
    UsageError,
)
from gpuctl.models import Json

EXCERPT_CHARS = 200
_TAG = re.compile(r"<(script|style)\b.*?</\1\s*>|<[^>]+>", re.IGNORECASE | re.DOTALL)
_WINDOW = re.compile(r'"[^"]*"((?:\s*;\s*[a-z]+=\d+)*)')


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer as far as errors need it. `request` is its method and path."""

    service: str
    request: str
    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def excerpt(self) -> str:
        """The first 200 characters that a person can read."""
        return " ".join(_TAG.sub(" ", self.text).split())[:EXCERPT_CHARS]

    @property
    def details(self) -> dict[str, object]:
        request_id = self.headers.get("x-request-id")
        return {"request": self.request, **({"request_id": request_id} if request_id else {})}


def error_of(answer: Answer, *, credentials_hint: str) -> GpuctlError:
    """The error an answer stands for; `details["status"]` always has the status (runpod.md §1)."""
    said, violations = _said(answer)
    message = f"{answer.service} answered {answer.status}: {said}"
    details = answer.details | {"status": answer.status, "detail": said}
    if violations:
        details["errors"] = violations
        message += f" ({'; '.join(violations)})"
    match answer.status:
        case 401:
            return CredentialsError(message, hint=f"the key: {credentials_hint}", details=details)
        case 403:
            return CredentialsError(
                message, hint="the key may lack this permission", details=details
            )
        case 402:
            return BudgetRefused(message, hint="add credit to the account", details=details)
        case 404:
            return NotFound(message, details=details)
        case 422:
            return UsageError(message, details=details)
    wait_s = retry_after_s(answer.headers) if answer.status == 429 else None
    return ApiError(
        message,
        status=answer.status,
        hint=_hint(answer.status, wait_s),
        details=details,
        retry_after_s=wait_s,
    )


def _hint(status: int, wait_s: float | None) -> str | None:
    if status == 429:
        return f"try again in {wait_s:.0f} s" if wait_s else "try again in a minute"
    if status == 410:
        return "this service was switched off; is runpod.api_url still https://api.runpod.io/v2?"
    return "try again in a minute" if status >= 500 else None


def retry_after_s(
    headers: Mapping[str, str], now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> float | None:
    """The longest of Retry-After (seconds or a date) and the exhausted windows of RateLimit."""
    waits = [float(reset) for left, reset in _windows(headers.get("ratelimit", "")) if left == 0]
    stated = headers.get("retry-after", "").strip()
    if stated.isdigit():
        waits.append(float(stated))
    elif stated:
        with contextlib.suppress(ValueError, TypeError):
            waits.append(max(0.0, (parsedate_to_datetime(stated) - now()).total_seconds()))
    return max(waits, default=None)


def pace_s(headers: Mapping[str, str]) -> float:
    """Seconds between calls at which half of what the rate limits leave lasts until they reset."""
    windows = _windows(headers.get("ratelimit", ""))
    return max((min(reset, 2 * reset / max(1, left)) for left, reset in windows), default=0.0)


def _windows(header: str) -> list[tuple[int, int]]:
    """(remaining, seconds to reset) of each window: `"minute";r=0;t=12, "hour";r=5;t=900`."""
    found = []
    for match in _WINDOW.finditer(header):
        values = dict(re.findall(r"([a-z]+)=(\d+)", match.group(1)))
        if "r" in values and "t" in values:
            found.append((int(values["r"]), int(values["t"])))
    return found


def _said(answer: Answer) -> tuple[str, list[str]]:
    """What the service says went wrong, and each violation it lists."""
    try:
        body = json.loads(answer.text)
    except ValueError:
        body = None
    if isinstance(body, dict):
        violations = body.get("errors")
        listed = [str(item) for item in violations] if isinstance(violations, list) else []
        return _sentence(body) or _phrase(answer.status), listed
    if answer.status in range(300, 400):
        return f"redirected to {answer.headers.get('location', 'elsewhere')}", []
    return answer.excerpt or _phrase(answer.status), []


def _sentence(body: Json) -> str:
    """problem+json says it in `detail`; older services in `message` or `error`."""
    for key in ("detail", "message", "error", "title"):
        value = body.get(key)
        if isinstance(value, dict):
            value = value.get("message")
        if isinstance(value, str) and value.strip():
            return value.strip()
    return ""


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "no explanation"
