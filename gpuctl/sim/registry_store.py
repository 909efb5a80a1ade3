"""What the simulator's registry holds: blobs by digest, manifests, tags; files on this disk."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from gpuctl.models import Json
from gpuctl.sim.store import read_json, write_json

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_UPLOAD = re.compile(r"[0-9a-f]{32}")


class Broken(Exception):
    """What was sent is not what it says it is."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


@dataclass(frozen=True, slots=True)
class Stored:
    """A manifest as it was put."""

    digest: str
    media_type: str
    body: bytes


class RegistryStore:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    # blobs

    def begin(self) -> str:
        upload = secrets.token_hex(16)
        place = self._folder / "uploads"
        place.mkdir(parents=True, exist_ok=True)
        (place / upload).touch()
        return upload

    async def append(self, upload: str, parts: AsyncIterator[bytes]) -> int:
        """Size so far, in bytes. Raises Broken for an upload that was not begun."""
        place = self._upload(upload)
        with place.open("ab") as file:
            async for part in parts:
                file.write(part)
        return place.stat().st_size

    def finish(self, upload: str, digest: str) -> None:
        """Raises Broken when the content is not `digest`."""
        place = self._upload(upload)
        with place.open("rb") as file:
            found = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        if found != digest:
            place.unlink()
            raise Broken(400, "DIGEST_INVALID", f"the content is {found}")
        target = self._blob_path(digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        place.replace(target)

    def blob(self, digest: str) -> Path | None:
        if not _DIGEST.fullmatch(digest):
            return None
        path = self._blob_path(digest)
        return path if path.is_file() else None

    # manifests

    def manifest(self, repository: str, selector: str) -> Stored | None:
        record = self._record(repository)
        digest = selector if _DIGEST.fullmatch(selector) else record["tags"].get(selector)
        kind = record["manifests"].get(digest)
        path = self.blob(digest) if digest else None
        if kind is None or path is None:
            return None
        return Stored(digest, kind, path.read_bytes())

    def put_manifest(self, repository: str, selector: str, kind: str, body: bytes) -> str:
        """Its digest. Raises Broken when it names blobs that are not here."""
        self._check(body)
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        is_digest = _DIGEST.fullmatch(selector)
        if (is_digest and selector != digest) or not (is_digest or _TAG.fullmatch(selector)):
            raise Broken(400, "DIGEST_INVALID", "the manifest is not what it is named by")
        target = self._blob_path(digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(body)
        record = self._record(repository)
        record["manifests"][digest] = kind
        if not is_digest:
            record["tags"][selector] = digest
        write_json(self._record_path(repository), record)
        return digest

    def tags(self, repository: str) -> list[str]:
        return sorted(self._record(repository)["tags"])

    def _check(self, body: bytes) -> None:
        try:
            document = json.loads(body)
            named = [document["config"], *document["layers"]] if "config" in document else []
            missing = [each["digest"] for each in named if self.blob(each["digest"]) is None]
        except (ValueError, KeyError, TypeError):
            raise Broken(400, "MANIFEST_INVALID", "this is not a manifest") from None
        if missing:
            raise Broken(400, "MANIFEST_BLOB_UNKNOWN", f"unknown blobs: {', '.join(missing)}")

    def _record(self, repository: str) -> Json:
        return read_json(self._record_path(repository)) or {"tags": {}, "manifests": {}}

    def _record_path(self, repository: str) -> Path:
        place = self._folder / "repositories"
        place.mkdir(parents=True, exist_ok=True)
        return place / f"{quote(repository, safe='')}.json"

    def _blob_path(self, digest: str) -> Path:
        return self._folder / "blobs" / digest.replace(":", "-")

    def _upload(self, upload: str) -> Path:
        place = self._folder / "uploads" / upload
        if not _UPLOAD.fullmatch(upload) or not place.is_file():
            raise Broken(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        return place
