"""A workload's HTTP service: its URLs and bodies, over a tunnel or through RunPod's proxy."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from gpuctl.clients.http import is_loopback
from gpuctl.errors import ConnectionFailed, CredentialsError, NotFound, UsageError
from gpuctl.models import Json, Secret

if TYPE_CHECKING:
    import httpx

CONNECT_S = 10.0
ANSWER_S = 60.0
# The service says something every 10 s: a stream that is silent for longer is dead.
SILENCE_S = 45.0
PIECE_BYTES = 1 << 20
_BUSY = (502, 503, 504, 520, 521, 522, 523, 524)


class Refusal(Exception):
    """The service said no: its status, and its own code, message and remedy."""

    def __init__(self, status: int, code: str, message: str, remedy: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.remedy = status, code, message, remedy


class ServiceApi:
    """Nothing is opened before use. Every method raises ConnectionFailed when nobody answers,
    CredentialsError when the token is missing or wrong, and Refusal for what the service refuses.
    """

    def __init__(self, base_url: str, token: Secret | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        self._token = token
        self._client: httpx.Client | None = None
        parts = urlsplit(self.base_url)
        if token and parts.scheme != "https" and not is_loopback(parts.hostname):
            raise UsageError(
                f"the token is not sent to {self.base_url}", hint="only over https, or a tunnel"
            )

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def health(self) -> Json:
        """Also while ComfyUI is not there: `status` says it."""
        with self._named():
            response = self._http().get("/health")
        if response.status_code == 503:
            return _document(response)
        return self._checked(response)

    def submit(self, job_id: str, given: Json) -> Json:
        return self._post("/generate", {**given, "id": job_id})

    def jobs(self) -> list[Json]:
        found: list[Json] = self._get("/jobs").get("jobs") or []
        return found

    def cancel(self, job_id: str) -> bool:
        with self._named():
            response = self._http().delete(f"/jobs/{quote(job_id, safe='')}")
        return self._checked(response).get("cancelled") is True

    def events(self, job_id: str, from_seq: int = 0) -> Iterator[Json]:
        """Event lines after `from_seq`, old ones first, to the final one."""
        import httpx  # noqa: PLC0415  60 ms, only when something is called

        path = f"/jobs/{quote(job_id, safe='')}/events"
        timeout = httpx.Timeout(ANSWER_S, connect=CONNECT_S, read=SILENCE_S)
        with (
            self._named(),
            self._http().stream("GET", path, params={"from": from_seq}, timeout=timeout) as lines,
        ):
            if not lines.is_success:
                lines.read()
                self._checked(lines)
            for line in lines.iter_lines():
                if line.startswith("data: "):
                    yield json.loads(line[6:])

    def has_input(self, name: str) -> int | None:
        """Bytes of the input `name` (`inputs/…`) there; None when it is not."""
        try:
            return int(self._get(f"/{quote(name)}")["bytes"])
        except Refusal as refusal:
            if refusal.status == 404:
                return None
            raise

    def put_input(self, name: str, source: Path, on_bytes: Any = None) -> None:
        """Sends a file under the name that its content gave it."""
        size = source.stat().st_size

        def pieces() -> Iterator[bytes]:
            done = 0
            with source.open("rb") as file:
                while piece := file.read(PIECE_BYTES):
                    yield piece
                    done += len(piece)
                    if on_bytes is not None:
                        on_bytes(done, size)

        with self._named():
            response = self._http().put(
                f"/{quote(name)}", content=pieces(), headers={"Content-Length": str(size)}
            )
        self._checked(response)

    @contextmanager
    def artifact(self, job_id: str, name: str, offset: int, sha256: str) -> Iterator[Artifact]:
        """The bytes of a result from `offset` on, or from 0 when they are no longer the same."""
        headers = {"Range": f"bytes={offset}-", "If-Range": f'"{sha256}"'} if offset else {}
        path = f"/files/{quote(job_id, safe='')}/{quote(name, safe='')}"
        with self._named(), self._http().stream("GET", path, headers=headers) as response:
            if response.status_code not in (200, 206):
                response.read()
                self._checked(response)
            yield Artifact(response, offset if response.status_code == 206 else 0)

    def models(self) -> Json:
        return self._get("/models")

    def workflows(self) -> list[Json]:
        found: list[Json] = self._get("/workflows").get("workflows") or []
        return found

    def validate(self, given: Json) -> Json:
        return self._post("/validate", given)

    def _get(self, path: str) -> Json:
        with self._named():
            response = self._http().get(path)
        return self._checked(response)

    def _post(self, path: str, body: Json) -> Json:
        with self._named():
            response = self._http().post(path, json=body)
        return self._checked(response)

    def _checked(self, response: httpx.Response) -> Json:
        document = _document(response)
        if response.is_success:
            return document
        if response.status_code == 401:
            raise CredentialsError(
                "the service wants a token, and this is not it"
                if self._token
                else "the service wants a token",
                hint="gpuctl config set video.token TOKEN (SERVICE_TOKEN of the service)",
            )
        if response.status_code in _BUSY and "error" not in document:
            raise ConnectionFailed(f"the proxy answered {response.status_code} for the service")
        raise _refusal(response.status_code, document)

    @contextmanager
    def _named(self) -> Iterator[None]:
        import httpx  # noqa: PLC0415  loaded already by the client

        try:
            yield
        except httpx.HTTPError as error:
            said = str(error) or type(error).__name__
            raise ConnectionFailed(f"the service does not answer: {said}") from error
        except json.JSONDecodeError as error:
            raise ConnectionFailed("the service was cut off in the middle of an event") from error

    def _http(self) -> httpx.Client:
        import httpx  # noqa: PLC0415  60 ms, only when something is called

        if self._client is None:
            parts = urlsplit(self.base_url)
            headers = {"User-Agent": "gpuctl"}
            if self._token:
                headers["Authorization"] = f"Bearer {self._token.reveal()}"
            self._client = httpx.Client(
                base_url=self.base_url,
                headers=headers,
                timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S),
                # A tunnel ends on this computer: a proxy has no business before it.
                trust_env=not is_loopback(parts.hostname),
                verify=parts.scheme == "https",
            )
        return self._client


class Artifact:
    """A result on its way: where its first byte belongs, and the bytes."""

    def __init__(self, response: httpx.Response, offset: int) -> None:
        self._response, self.offset = response, offset

    def pieces(self) -> Iterator[bytes]:
        yield from self._response.iter_bytes(PIECE_BYTES)


def _document(response: httpx.Response) -> Json:
    try:
        found = response.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _refusal(status: int, document: Mapping[str, Any]) -> Exception:
    error = document.get("error")
    if isinstance(error, dict):
        message = str(error.get("message") or "no reason given")
        if status == 404:
            return NotFound(message)
        return Refusal(
            status, str(error.get("code") or "failed"), message, str(error.get("remedy") or "")
        )
    detail = document.get("detail")
    if isinstance(detail, list) and detail and isinstance(detail[0], dict):
        rows = [f"{'.'.join(map(str, row.get('loc', ())))}: {row.get('msg')}" for row in detail]
        return Refusal(status, "bad_input", "; ".join(rows), "")
    return Refusal(status, "failed", f"the service answered {status}: {detail or 'no reason'}", "")
