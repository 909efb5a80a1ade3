"""A file from an address that needs no key: a presigned one, or anybody's."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from gpuctl.clients.http import is_loopback
from gpuctl.errors import ConnectionFailed, NotFound, TransferFailed

TIMEOUT_S = 60.0


def download(url: str, target: Path) -> None:
    """Writes the body to `target`. The address may be signed: no message repeats it.

    Raises ConnectionFailed, NotFound (also for one that has expired), TransferFailed, OSError.
    """
    import httpx  # noqa: PLC0415  60 ms, only when something is called

    host = urlsplit(url).hostname
    try:
        with (
            httpx.Client(timeout=TIMEOUT_S, trust_env=not is_loopback(host)) as client,
            client.stream("GET", url, follow_redirects=True) as response,
            target.open("wb") as file,
        ):
            if response.status_code in (403, 404, 410):
                raise NotFound(f"{host} has the file no more (status {response.status_code})")
            if not response.is_success:
                raise TransferFailed(f"{host} answered {response.status_code} for a file")
            for part in response.iter_bytes():
                file.write(part)
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        raise ConnectionFailed(f"{host} broke off a file: {type(error).__name__}") from error
