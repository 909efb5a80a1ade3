"""Requests to an image registry: redirects, tokens, and where a password may go.

The bearer tokens are Docker's registry token authentication, which Docker Hub, GitHub and most
others use; some registries take a password directly.
"""

from __future__ import annotations

import base64
import re
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urljoin, urlsplit

from gpuctl.clients.fetching import Reply
from gpuctl.clients.http import is_loopback
from gpuctl.errors import ApiError, CredentialsError
from gpuctl.models import Secret

if TYPE_CHECKING:
    import httpx

DOCUMENT_LIMIT_BYTES = 8 * 2**20  # manifests and configurations; registries refuse 4 MiB already
CONNECT_TIMEOUT_S = 8.0
MOST_REDIRECTS = 4
NOTHING: Mapping[str, str] = {}
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')
_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True, slots=True)
class Credentials:
    """An account of the registry. For Docker Hub the password is a personal access token."""

    username: str
    password: Secret

    def basic(self) -> str:
        pair = f"{self.username}:{self.password.reveal()}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"


class Wire:
    """`credentials` go to `base_url`'s own host and to the token service it names when that is of
    the same domain; to nobody else. Nothing is opened, and httpx is not loaded, before use."""

    def __init__(
        self, base_url: str, *, credentials: Credentials | None = None, timeout_s: float = 30.0
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.credentials = credentials
        self._timeout_s = timeout_s
        self._authorization: str | None = None
        self._client: httpx.Client | None = None
        self._close: Callable[[], object] = lambda: None

    @property
    def host(self) -> str:
        return urlsplit(self.base_url).netloc

    @property
    def is_known(self) -> bool:
        """Whether the last request went out under an account of the registry."""
        return self.credentials is not None and self._authorization is not None

    def close(self) -> None:
        self._close()
        self._client = None

    def ask(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] = NOTHING,
        body: bytes | None = None,
    ) -> Reply:
        """Any status is an answer. Raises ApiError without one, CredentialsError for an account
        that the token service refuses."""
        reply = self._sent(method, url, headers, body)
        if reply.status == 401 and self._authorize(reply):
            reply = self._sent(method, url, headers, body)
        return reply

    def wrong_account(self) -> CredentialsError:
        who = f"the account {self.credentials.username}" if self.credentials else "us"
        return CredentialsError(
            f"{self.host} refused {who}: wrong name, password or token",
            hint="gpuctl doctor checks it; gpuctl config set dockerhub.token changes it",
        )

    def _sent(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Reply:
        """Follows redirects (blobs lie elsewhere), and takes the credentials to no other host."""
        for _ in range(MOST_REDIRECTS):
            is_own = urlsplit(url).netloc == self.host
            own = {"Authorization": self._authorization} if self._authorization and is_own else {}
            reply = self._once(method, url, {**headers, **own}, body)
            if reply.status not in _REDIRECTS:
                return reply
            url = urljoin(url, reply.headers.get("location", ""))
            if urlsplit(url).scheme != "https" and not is_loopback(urlsplit(url).hostname):
                raise ApiError(f"{self.host} sends us on to an address without TLS")
        raise ApiError(f"{self.host} redirects without end")

    def _once(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Reply:
        deadline = time.monotonic() + self._timeout_s  # httpx counts silence; this counts it all
        with (
            self._named_errors(),
            self._http().stream(method, url, headers=dict(headers), content=body) as response,
        ):
            content = bytearray()
            for part in response.iter_bytes():
                content += part
                if len(content) > DOCUMENT_LIMIT_BYTES or time.monotonic() > deadline:
                    raise ApiError(f"{self.host} did not finish its answer in time")
            return Reply(response.status_code, dict(response.headers), bytes(content))

    # who we are

    def _authorize(self, reply: Reply) -> bool:
        """Does what the 401 asks for. False when it asks for nothing that we can give."""
        scheme, _, rest = reply.headers.get("www-authenticate", "").partition(" ")
        if scheme.lower() == "basic" and self.credentials:
            self._authorization = self.credentials.basic()
            return True
        asked = dict(_PARAMETER.findall(rest))
        if scheme.lower() != "bearer" or not asked.get("realm"):
            return False
        self._authorization = f"Bearer {self._token(asked)}"
        return True

    def _token(self, asked: Mapping[str, str]) -> str:
        """Raises CredentialsError when the account is refused."""
        realm = asked["realm"]
        query = urlencode({name: asked[name] for name in ("service", "scope") if name in asked})
        is_trusted = self.credentials is not None and self._trusts(realm)
        basic = self.credentials.basic() if self.credentials and is_trusted else ""
        headers = {"Authorization": basic} if basic else {}
        mark = "&" if "?" in realm else "?"
        reply = self._once("GET", f"{realm}{mark}{query}" if query else realm, headers, None)
        if reply.status in (401, 403):
            raise self.wrong_account()
        token = reply.document().get("token") or reply.document().get("access_token")
        if not reply.is_success or not isinstance(token, str):
            raise ApiError(
                f"{urlsplit(realm).netloc} gave no token (status {reply.status})",
                status=reply.status,
                hint="try again in a minute",
            )
        return token

    def _trusts(self, realm: str) -> bool:
        """auth.docker.io serves registry-1.docker.io; a stranger's host gets no password."""
        theirs, ours = urlsplit(realm), urlsplit(self.base_url)
        if is_loopback(theirs.hostname) and is_loopback(ours.hostname):
            return True
        return theirs.scheme == "https" and _domain(theirs.hostname) == _domain(ours.hostname)

    # the connection

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        import httpx  # noqa: PLC0415  60 ms, only when a registry is asked

        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise ApiError(
                f"{self.host} cannot be reached: {str(error) or type(error).__name__}",
                hint="check the network and the name of the registry",
            ) from error
        except httpx.TimeoutException as error:
            raise ApiError(f"{self.host} did not answer within {self._timeout_s:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise ApiError(f"the connection to {self.host} broke: {error}") from error

    def _http(self) -> httpx.Client:
        if self._client is None:
            import httpx  # noqa: PLC0415  likewise

            self._client = httpx.Client(
                timeout=httpx.Timeout(self._timeout_s, connect=CONNECT_TIMEOUT_S),
                follow_redirects=False,
                trust_env=not is_loopback(urlsplit(self.base_url).hostname),
                headers={"User-Agent": "gpuctl"},
            )
            self._close = weakref.finalize(self, self._client.close)
        return self._client


def _domain(host: str | None) -> str:
    return ".".join((host or "").lower().split(".")[-2:])
