"""One repository of an image registry, over the OCI distribution API (specification 1.1)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urljoin

from gpuctl.clients.fetching import Reply
from gpuctl.clients.registry_wire import NOTHING, Credentials, Wire
from gpuctl.errors import ApiError, CredentialsError, GpuctlError, NotFound, TransferFailed
from gpuctl.models import Json

__all__ = ["Content", "Credentials", "Registry", "sha256"]


@dataclass(frozen=True, slots=True)
class Content:
    """What the registry keeps under a tag or digest; `digest` is computed from the body."""

    digest: str
    media_type: str
    body: bytes

    def document(self) -> Json:
        """Raises ApiError when it is not a JSON object."""
        try:
            found = json.loads(self.body)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ApiError("the registry answered with something that is not JSON")
        return found


class Registry:
    """Reads and writes manifests and blobs. `name` is what messages call the image."""

    def __init__(
        self,
        base_url: str,
        repository: str,
        *,
        name: str,
        credentials: Credentials | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        self._wire = Wire(base_url, credentials=credentials, timeout_s=timeout_s)
        self._repository = repository
        self._name = name

    def close(self) -> None:
        self._wire.close()

    def manifest(self, selector: str, accept: tuple[str, ...]) -> Content:
        """The manifest or index under a tag or digest.

        Raises NotFound, CredentialsError, TransferFailed when it is not what was named, ApiError.
        """
        reply = self._ask("GET", f"manifests/{selector}", headers={"Accept": ", ".join(accept)})
        content = _content(reply)
        for named in (selector, reply.headers.get("docker-content-digest", "")):
            if named.startswith("sha256:") and named != content.digest:
                raise TransferFailed(f"the registry's manifest of {self._name} is not {named}")
        return content

    def digest_of(self, selector: str, accept: tuple[str, ...]) -> str | None:
        """What the registry calls the content of a tag (Docker-Content-Digest); None: not there."""
        try:
            reply = self._ask(
                "HEAD", f"manifests/{selector}", headers={"Accept": ", ".join(accept)}
            )
        except NotFound:
            return None
        return reply.headers.get("docker-content-digest")

    def blob(self, digest: str) -> Content:
        """A small blob (a configuration), checked against its digest. Raises as `manifest`."""
        content = _content(self._ask("GET", f"blobs/{digest}"))
        if content.digest != digest:
            raise TransferFailed(f"a blob of {self._name} arrived damaged")
        return content

    def has_blob(self, digest: str) -> bool:
        try:
            self._ask("HEAD", f"blobs/{digest}")
        except NotFound:
            return False
        return True

    def put_blob(self, digest: str, body: bytes) -> None:
        """Uploads in one piece. Raises CredentialsError, ApiError."""
        begun = self._ask("POST", "blobs/uploads/", wanted=202)
        place = urljoin(self._url("blobs/uploads/"), begun.headers.get("location", ""))
        mark = "&" if "?" in place else "?"
        kind = {"Content-Type": "application/octet-stream"}
        self._ask("PUT", f"{place}{mark}digest={digest}", headers=kind, body=body, wanted=201)

    def put_manifest(self, selector: str, media_type: str, body: bytes) -> str:
        """Puts a tag on what was uploaded; returns the registry's digest of it."""
        kind = {"Content-Type": media_type}
        reply = self._ask("PUT", f"manifests/{selector}", headers=kind, body=body, wanted=201)
        return reply.headers.get("docker-content-digest") or sha256(body)

    def _url(self, path: str) -> str:
        return f"{self._wire.base_url}/v2/{self._repository}/{path}"

    def _ask(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] = NOTHING,
        body: bytes | None = None,
        wanted: int = 200,
    ) -> Reply:
        url = path if "://" in path else self._url(path)
        reply = self._wire.ask(method, url, headers=headers, body=body)
        if reply.status != wanted:
            raise self._refusal(reply)
        return reply

    def _refusal(self, reply: Reply) -> GpuctlError:
        status, host, name = reply.status, self._wire.host, self._name
        details: dict[str, object] = {"status": status, "image": name}
        if status == 404:
            return NotFound(
                f"{host} has no {name}",
                hint="is the name right? What gpuctl pushed: gpuctl image list",
                details=details,
            )
        if status == 401 and self._wire.is_known:
            return self._wire.wrong_account()
        if status in (401, 403):
            return CredentialsError(
                f"{host} does not show {name}: it is private, or does not exist",
                hint="dockerhub.username and dockerhub.token name the account that may",
                details=details,
            )
        is_limit = status == 429
        return ApiError(
            f"{host} answered {status}: {'too many requests' if is_limit else _said(reply)}",
            status=status,
            hint="log in (dockerhub.token), or wait" if is_limit else "try again in a minute",
            details=details,
        )


def sha256(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def _content(reply: Reply) -> Content:
    media_type = reply.headers.get("content-type", "").partition(";")[0].strip()
    return Content(sha256(reply.body), media_type, reply.body)


def _said(reply: Reply) -> str:
    """The specification's `errors[].message`, at most 200 characters."""
    errors = reply.document().get("errors")
    listed = errors if isinstance(errors, list) else []
    said = "; ".join(str(e.get("message") or e.get("code")) for e in listed if isinstance(e, dict))
    return " ".join(said.split())[:200] or "no explanation"
