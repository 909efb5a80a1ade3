"""One HTTP request to a service that gpuctl only looks at: status, headers and body as they are."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from gpuctl.clients.http import KEY_HOSTS, is_loopback
from gpuctl.errors import ApiError, ConfigError
from gpuctl.models import Json, Secret

MOST_CONNECT_S = 8.0
BODY_LIMIT_BYTES = 8 * 2**20
_IMPORTING = threading.Lock()


def load() -> None:
    """Loads httpx once, before several threads want it at the same moment."""
    with _IMPORTING:
        import httpx  # noqa: F401, PLC0415  60 ms, only when something is called


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back, whatever the status. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    def document(self) -> Json:
        """The JSON object in the body; empty where there is none."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def said(self) -> str:
        """The service's own words for a refusal, at most 200 characters."""
        document = self.document()
        for key in ("detail", "message", "error"):
            value: Any = document.get(key)
            if isinstance(value, dict):
                value = value.get("message")
            if isinstance(value, str) and value.strip():
                return " ".join(value.split())[:200]
        return "no explanation"


def fetch(
    method: str,
    url: str,
    *,
    timeout_s: float,
    headers: Mapping[str, str] | None = None,
    body: Json | None = None,
) -> Reply:
    """Follows no redirect and retries nothing. Raises ApiError without an answer (`status` None)
    and ConfigError for an address that is none."""
    host = urlsplit(url).hostname
    if host is None:
        raise ConfigError(f"'{url}' is not the address of an API", hint="https://host/path")
    load()
    import httpx  # noqa: PLC0415  loaded by now

    deadline = time.monotonic() + timeout_s  # httpx counts silence; this counts everything
    timeout = httpx.Timeout(timeout_s, connect=min(MOST_CONNECT_S, timeout_s))
    try:
        with (
            httpx.Client(timeout=timeout, trust_env=not is_loopback(host)) as client,
            client.stream(method, url, headers=dict(headers or {}), json=body) as response,
        ):
            content = b""
            for part in response.iter_bytes():
                content += part
                if len(content) > BODY_LIMIT_BYTES or time.monotonic() > deadline:
                    raise ApiError(f"{host} did not finish its answer within {timeout_s:g} s")
            return Reply(response.status_code, dict(response.headers), content)
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise ApiError(f"{host} cannot be reached: {str(error) or type(error).__name__}") from error
    except httpx.TimeoutException as error:
        raise ApiError(f"{host} did not answer within {timeout_s:g} s") from error
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        raise ApiError(f"the connection to {host} broke: {error}") from error


def bearer(url: str, key: Secret, hosts: tuple[str, ...] = KEY_HOSTS) -> dict[str, str]:
    """The header that carries `key`, for `hosts` over TLS and for the loopback alone.

    Raises ConfigError for any other address.
    """
    parts = urlsplit(url)
    is_allowed = parts.scheme == "https" and parts.hostname in hosts
    if not (is_allowed or is_loopback(parts.hostname)):
        raise ConfigError(
            f"the key is not sent to {parts.scheme}://{parts.netloc}",
            hint=f"only to https://{hosts[0]} or this computer",
        )
    return {"Authorization": f"Bearer {key.reveal()}", "Accept": "application/json"}
