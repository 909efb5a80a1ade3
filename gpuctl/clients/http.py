"""One HTTP client for every API: time limits, retries, named errors, and where a key may go."""

from __future__ import annotations

import ipaddress
import json
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gpuctl.clients.http_errors import Answer, error_of, pace_s
from gpuctl.errors import ApiError, ConfigError, CredentialsError, GpuctlError
from gpuctl.models import Json, Secret

if TYPE_CHECKING:
    import httpx

# The only hosts that ever see a RunPod key (runpod.md §0); *.proxy.runpod.net is a container.
KEY_HOSTS = ("api.runpod.io", "api.runpod.ai")
CONNECT_TIMEOUT_S = 8.0
ATTEMPTS = 3
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 60.0
BODY_LIMIT_BYTES = 64 * 2**20

Sleep = Callable[[float], object]


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event of a stream: its id, to be replayed verbatim, and its data."""

    id: str
    data: str


def is_loopback(host: str | None) -> bool:
    """Whether the name or address can only be this computer."""
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


class Http:
    """Speaks JSON with one service. Nothing is opened, and httpx is not loaded, before use.

    `service` names it in messages; `credentials_hint` is what to type when the key is refused;
    `transport` takes httpx's place on the wire (tests look at the traffic through it).
    """

    def __init__(
        self,
        base_url: str,
        *,
        key: Secret | None,
        timeout_s: float,
        sleep: Sleep,
        now: Callable[[], float] = time.monotonic,
        service: str = "RunPod",
        credentials_hint: str = "gpuctl config show runpod.api_key",
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.base_url = _checked(base_url)
        self._key = key
        self._timeout_s = timeout_s
        self._sleep = sleep
        self._now = now
        self.service = service
        self._credentials_hint = credentials_hint
        self._transport = transport
        self._client: httpx.Client | None = None
        self._opening = Lock()  # several questions may be asked at once
        self.pace_s = 0.0  # between calls, so that the rate limits last: from the newest answer
        self._close: Callable[[], object] = lambda: None

    @property
    def is_loopback(self) -> bool:
        return is_loopback(urlsplit(self.base_url).hostname)

    def close(self) -> None:
        self._close()
        self._client = None

    def get(self, path: str, params: Mapping[str, str] | None = None) -> Json:
        """A read: tried again after 5xx, network errors and unreadable answers."""
        return self._call("GET", path, params=params, repeats=True)

    def send(self, method: str, path: str, body: Json | None = None) -> Json:
        """A change: tried again only after 429, which is refused before anything is done.

        An ApiError whose `status` is None had no readable answer: the change may or may not have
        happened; `details["sent"]` is False when the request never left.
        """
        return self._call(method, path, body=body, repeats=False)

    def events(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        quiet_s: float | None,
        last_event_id: str | None = None,
    ) -> Iterator[ServerEvent]:
        """Server-sent events as they come. Ends after `quiet_s` without any; never when None."""
        from httpx import ReadTimeout  # noqa: PLC0415  httpx costs 60 ms
        from httpx_sse import connect_sse  # noqa: PLC0415  loads httpx

        headers = self._headers(self.base_url + path)
        if last_event_id:
            headers["Last-Event-ID"] = last_event_id
        timeout = self._timeout(read_s=90.0 if quiet_s is None else quiet_s)
        with (
            self._named_errors("GET", path),
            connect_sse(
                self._http(), "GET", self.base_url + path, params=params,
                headers=headers, timeout=timeout,
            ) as source,
        ):  # fmt: skip
            if source.response.status_code != 200:
                source.response.read()
                raise self._refusal("GET", path, source.response)
            try:
                for event in source.iter_sse():
                    if event.data:  # a keep-alive passes for an event once there was an id
                        yield ServerEvent(event.id, event.data)
            except ReadTimeout:
                if quiet_s is None:
                    raise

    def _call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Json | None = None,
        repeats: bool,
    ) -> Json:
        pause_s = FIRST_PAUSE_S
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._once(method, path, params, body)
            except ApiError as error:
                wait_s = self._pause(error, pause_s, repeats=repeats)
                if attempt == ATTEMPTS or wait_s is None or wait_s > LONGEST_PAUSE_S:
                    raise
            self._sleep(wait_s)
            pause_s *= 2
        raise AssertionError("the last attempt returns or raises")

    def _pause(self, error: ApiError, pause_s: float, *, repeats: bool) -> float | None:
        """Seconds before the next attempt, None when there must not be one."""
        if error.status == 429:
            return error.retry_after_s if error.retry_after_s is not None else pause_s
        is_passing = error.status is None or error.status >= 500
        return pause_s if repeats and is_passing else None

    def _once(
        self, method: str, path: str, params: Mapping[str, str] | None, body: Json | None
    ) -> Json:
        url = self.base_url + path
        deadline = self._now() + self._timeout_s
        with (
            self._named_errors(method, path),
            self._http().stream(
                method, url, params=params, json=body, headers=self._headers(url)
            ) as response,
        ):
            content = self._body(response, deadline, method, path)
        answer = self._answer(method, path, response, content)
        self.pace_s = pace_s(response.headers)
        if not response.is_success:
            raise self._named(answer)
        return self._parsed(answer, content) if content else {}

    def _body(self, response: httpx.Response, deadline: float, method: str, path: str) -> bytes:
        """The read timeout of httpx counts silence; this counts everything."""
        parts = bytearray()
        for part in response.iter_bytes():
            parts += part
            if self._now() > deadline or len(parts) > BODY_LIMIT_BYTES:
                raise ApiError(
                    f"{self.service} did not finish its answer within {self._timeout_s:g} s",
                    details={"request": f"{method} {path}", "http_status": response.status_code},
                )
        return bytes(parts)

    def _parsed(self, answer: Answer, content: bytes) -> Json:
        try:
            parsed = json.loads(content)
        except ValueError as error:
            raise self._unreadable(answer) from error
        if isinstance(parsed, list):  # older services answer lists bare
            return {"items": parsed}
        if not isinstance(parsed, dict):
            raise self._unreadable(answer)
        return parsed

    def _unreadable(self, answer: Answer) -> ApiError:
        return ApiError(
            f"{self.service} answered {answer.status} with something that is not JSON: "
            f"{answer.excerpt!r}",
            details=answer.details | {"http_status": answer.status},
        )

    def _answer(self, method: str, path: str, response: httpx.Response, content: bytes) -> Answer:
        text = content.decode("utf-8", "replace")
        if self._key:
            text = text.replace(self._key.reveal(), "***")
        return Answer(
            self.service, f"{method} {path}", response.status_code, dict(response.headers), text
        )

    def _refusal(self, method: str, path: str, response: httpx.Response) -> GpuctlError:
        return self._named(self._answer(method, path, response, response.content))

    def _named(self, answer: Answer) -> GpuctlError:
        return error_of(answer, credentials_hint=self._credentials_hint)

    def _headers(self, url: str) -> dict[str, str]:
        """The key travels in this header alone, and only over TLS or the loopback."""
        if self._key is None:
            raise CredentialsError(
                f"no API key for {self.service} is configured",
                hint="put RUNPOD_API_KEY=… into .env, or try without an account: gpuctl --sim …",
            )
        parts = urlsplit(url)
        is_allowed = parts.hostname in KEY_HOSTS and parts.scheme == "https"
        if not (is_allowed or is_loopback(parts.hostname)):
            raise ConfigError(
                f"the API key is not sent to {parts.scheme}://{parts.netloc}",
                hint=f"runpod.api_url must be on https://{KEY_HOSTS[0]} or on this computer",
            )
        return {"Authorization": f"Bearer {self._key.reveal()}"}

    def _timeout(self, *, read_s: float) -> httpx.Timeout:
        import httpx  # noqa: PLC0415  60 ms, only when something is called

        return httpx.Timeout(read_s, connect=min(CONNECT_TIMEOUT_S, self._timeout_s))

    def _http(self) -> httpx.Client:
        with self._opening:
            if self._client is None:
                self._client = self._opened()
                self._close = weakref.finalize(self, self._client.close)
            return self._client

    def _opened(self) -> httpx.Client:
        import httpx  # noqa: PLC0415  60 ms, only when something is called

        # A proxy has no business before the loopback, and certificates take 20 ms to load.
        return httpx.Client(
            timeout=self._timeout(read_s=self._timeout_s),
            transport=self._transport,
            follow_redirects=False,
            trust_env=not self.is_loopback,
            verify=urlsplit(self.base_url).scheme == "https",
            headers={"Accept": "application/json", "User-Agent": "gpuctl"},
        )

    @contextmanager
    def _named_errors(self, method: str, path: str) -> Iterator[None]:
        import httpx  # noqa: PLC0415  loaded already by the client

        host = urlsplit(self.base_url).netloc
        details: dict[str, object] = {"request": f"{method} {path}"}
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise ApiError(
                f"{host} cannot be reached: {_why(error)}",
                hint="check the network, then try again",
                details=details | {"sent": False},
            ) from error
        except httpx.TimeoutException as error:
            raise ApiError(
                f"{self.service} did not answer within {self._timeout_s:g} s", details=details
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise ApiError(
                f"the connection to {host} broke: {_why(error)}", details=details
            ) from error


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__


def _checked(url: str) -> str:
    with suppress(ValueError):
        if urlsplit(url).hostname is not None:
            return url.rstrip("/")
    raise ConfigError(f"'{url}' is not the address of an API", hint="https://host/path")
