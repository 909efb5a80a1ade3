"""Fetches what a request names by URL: over https, from public addresses alone, never for longer
or larger than allowed. The address that was checked is the one that is connected to."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit

from worker.report import Failure

MOST_REDIRECTS = 5
CONNECT_S = 15.0
SILENCE_S = 60.0
BLOCK_BYTES = 1 << 20
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Resolve = Callable[[str, int], "list[str]"]
Connect = Callable[["tuple[str, int]", float], socket.socket]


class Refused(Failure):
    """The address may not be fetched, or what answers there is not what was asked for."""

    def __init__(self, message: str, remedy: str = "give an https address that anybody can open"):
        super().__init__("bad_input", message, remedy)


class Dropped(Exception):
    """The connection ended early, or the server is busy: another try may go on where it stopped."""


def resolve(host: str, port: int) -> list[str]:
    """Every address of `host`, as the system's resolver says. Raises Refused."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Refused(f"{host} cannot be resolved: {error}") from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True)
class Door:
    """How hosts are looked up and reached. Tests put another network behind it."""

    resolve: Resolve = resolve
    connect: Connect = socket.create_connection
    context: ssl.SSLContext = field(default_factory=ssl.create_default_context)


@dataclass
class Page:
    """An answer that is being read. Header names in lower case; `linked` are those of the first
    answer, which on the Hugging Face hub names size and hash of what it redirects to."""

    url: str
    status: int
    headers: Mapping[str, str]
    linked: Mapping[str, str]
    response: http.client.HTTPResponse

    def blocks(self) -> Iterator[bytes]:
        """The body. Raises Dropped when it ends before its announced length."""
        length = self.headers.get("content-length")
        left = int(length) if length and length.isdecimal() else None
        while True:
            try:
                block = self.response.read(BLOCK_BYTES)
            except (OSError, http.client.HTTPException) as error:
                raise Dropped(f"the connection broke: {error}") from error
            if not block:
                break
            left = None if left is None else left - len(block)
            yield block
        if left:
            raise Dropped(f"the connection ended {left} bytes early")


def is_public(address: str) -> bool:
    """Whether `address` is one of the open internet, also behind its IPv6 disguises."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if inner is not None:
            return is_public(str(inner))
        if found.teredo is not None or found in _NAT64:
            return False
    return found.is_global and not found.is_multicast


def checked(url: str, door: Door) -> tuple[str, int, str]:
    """Host, port, and the public address to connect to. Raises Refused."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 443
    except ValueError as error:
        raise Refused(f"not an address: {url[:200]!r}") from error
    if parts.scheme != "https" or not host:
        raise Refused(f"only https is fetched, not {url[:200]!r}")
    if parts.username or parts.password:
        raise Refused("an address with a name or password in it is not fetched")
    addresses = door.resolve(host, port)
    hidden = [address for address in addresses if not is_public(address)]
    if hidden or not addresses:
        raise Refused(f"{host} is not on the open internet ({', '.join(hidden) or 'no address'})")
    return host, port, addresses[0]


@contextmanager
def opened(
    url: str, *, door: Door | None = None, headers: Mapping[str, str] | None = None
) -> Iterator[Page]:
    """The answer at `url`; each redirect is checked like the first address.

    `headers` named Authorization go to the first host alone. Raises Refused, Dropped.
    """
    door = door or Door()
    first: str | None = None
    linked: dict[str, str] = {}
    for _ in range(MOST_REDIRECTS + 1):
        host, port, address = checked(url, door)
        first = first or host
        sent = dict(headers or {})
        if host != first:
            sent.pop("Authorization", None)
        connection = _Connection(host, port, address, door)
        response: http.client.HTTPResponse | None = None
        try:
            response = _ask(connection, url, sent)
            found = {name.lower(): value for name, value in response.getheaders()}
            linked = linked or found
            location = found.get("location")
            if response.status in (301, 302, 303, 307, 308) and location:
                url = urljoin(url, location)
                continue
            _check_status(url, response.status)
            yield Page(url, response.status, found, linked, response)
            return
        finally:
            if response is not None:
                response.close()
            connection.close()
    raise Refused(f"more than {MOST_REDIRECTS} redirects")


def fetch(url: str, *, limit_bytes: int, door: Door | None = None) -> bytes:
    """The whole body. Raises Refused when it is larger than `limit_bytes`, Dropped."""
    too_large = Refused(f"{url[:200]} is larger than {limit_bytes >> 20} MB", "give a smaller file")
    with opened(url, door=door) as page:
        length = page.headers.get("content-length", "0")
        if length.isdecimal() and int(length) > limit_bytes:
            raise too_large
        content = bytearray()
        for block in page.blocks():
            content += block
            if len(content) > limit_bytes:
                raise too_large
    return bytes(content)


class _Connection(http.client.HTTPSConnection):
    """Talks to the address that was checked, in the name of the host."""

    def __init__(self, host: str, port: int, address: str, door: Door) -> None:
        super().__init__(host, port, timeout=CONNECT_S, context=door.context)
        self._address, self._door = address, door

    def connect(self) -> None:
        raw = self._door.connect((self._address, self.port), CONNECT_S)
        raw.settimeout(SILENCE_S)
        try:
            self.sock = self._door.context.wrap_socket(raw, server_hostname=self.host)
        except BaseException:
            raw.close()
            raise


def _ask(
    connection: http.client.HTTPSConnection, url: str, headers: Mapping[str, str]
) -> http.client.HTTPResponse:
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("GET", path, headers={"User-Agent": "gpuctl-worker", **headers})
        return connection.getresponse()
    except ssl.SSLCertVerificationError as error:
        raise Refused(f"{parts.hostname} has no valid certificate: {error.reason}") from error
    except (http.client.InvalidURL, ValueError) as error:
        raise Refused(f"not an address: {url[:200]!r}") from error
    except (OSError, http.client.HTTPException) as error:
        raise Dropped(f"{parts.hostname} cannot be reached: {error}") from error


def _check_status(url: str, status: int) -> None:
    if status in (200, 206, 416):
        return
    if status in (408, 429) or status >= 500:
        raise Dropped(f"{urlsplit(url).hostname} answered {status}")
    remedy = "the file may be gated: give a Hugging Face token" if status in (401, 403) else ""
    raise Refused(f"{urlsplit(url).hostname} answered {status}", remedy)
