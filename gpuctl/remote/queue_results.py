"""Where finished jobs of a queue are kept: RunPod forgets a result half an hour after its end."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from gpuctl.clients.s3 import Bucket
from gpuctl.errors import NotFound, TransferFailed
from gpuctl.models import Artifact, Json

FILE = "result.json"
KEPT_S = 30 * 24 * 3600.0
# Fetches an address into a file.
Download = Callable[[str, Path], None]


class Results:
    """One folder per job: the whole answer as it came, written before anybody looks at it."""

    def __init__(self, folder: Path, *, download: Download, bucket: Bucket | None) -> None:
        self._folder = folder
        self._download = download
        self._bucket = bucket

    def save(self, job_id: str, answer: Json) -> Json:
        """On disk, not only on its way there, when it returns."""
        saved = {"saved_at": time.time(), "answer": answer}
        folder = self._folder / job_id
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        scratch = folder / f"{FILE}.{os.getpid()}"
        handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(saved, stream)
            stream.flush()
            os.fsync(stream.fileno())
        scratch.replace(folder / FILE)
        _sync(folder)
        return saved

    def saved(self, job_id: str) -> Json | None:
        """`{"saved_at", "answer"}`, None when nothing was saved."""
        return _read(self._folder / job_id / FILE)

    def artifact_path(self, job_id: str, name: str) -> str:
        """What stands for an artifact's path: where its answer is kept."""
        return str(self._folder / job_id / name)

    def fetch(self, artifact: Artifact, target: Path) -> None:
        """Raises TransferFailed, NotFound."""
        folder = Path(artifact.path).parent
        found = _artifact(_read(folder / FILE), artifact.sha256)
        if found is None:
            raise NotFound(f"the result with {artifact.path} is not kept here any more")
        part = target.with_name(target.name + ".part")
        self._bring(found, part)
        if _sha256(part) != artifact.sha256:
            part.unlink()
            raise TransferFailed(
                f"{target.name} did not arrive as it was made", hint="gpuctl jobs attach JOB"
            )
        part.replace(target)

    def forget_old(self) -> None:
        """Removes what nobody has asked for in a month."""
        oldest = time.time() - KEPT_S
        with suppress(OSError):
            for folder in self._folder.iterdir():
                if folder.stat().st_mtime < oldest:
                    shutil.rmtree(folder, ignore_errors=True)

    def _bring(self, found: Json, part: Path) -> None:
        url, key = str(found.get("url") or ""), found.get("s3_key") or found.get("workspace_path")
        if isinstance(found.get("data"), str):
            part.write_bytes(base64.b64decode(found["data"]))
        elif url.startswith(("http://", "https://")):
            self._download(url, part)
        elif key and self._bucket is not None:
            self._bucket.get(str(key), part)
        else:
            raise TransferFailed(
                f"{found.get('name')} was too large for the queue's answer, and stays on the "
                "worker's disk",
                hint="give the endpoint a bucket (gpuctl config set s3.bucket NAME, then gpuctl "
                "endpoint update) or a network volume, and send the job again",
            )


def artifacts_of(answer: Json) -> list[Json]:
    """The artifacts of a finished job, whoever announced them."""
    listed = output_of(answer).get("artifacts")
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []


def output_of(answer: Json) -> Json:
    """What the handler answered. One that is streamed says it last."""
    output = answer.get("output")
    if isinstance(output, list):
        pieces = [each for each in output if isinstance(each, dict)]
        output = next((each for each in reversed(pieces) if each.get("event") == "result"), None)
    return output if isinstance(output, dict) else {}


def _artifact(saved: Json | None, digest: str) -> Json | None:
    found = artifacts_of(saved["answer"]) if saved else []
    return next((each for each in found if each.get("sha256") == digest), None)


def _read(path: Path) -> Json | None:
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return saved if isinstance(saved, dict) and isinstance(saved.get("answer"), dict) else None


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
