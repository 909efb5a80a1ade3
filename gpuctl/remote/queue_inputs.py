"""How files travel with a job of a queue: inside it, over the volume's own service, or a bucket."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path

from gpuctl.clients.s3 import Bucket
from gpuctl.errors import UsageError
from gpuctl.models import Json, Report

# Of the 10 MB of a job; base64 adds a third.
INLINE_LIMIT_BYTES = 6_000_000
PREFIX = "gpuctl"
# A job may wait in the queue for a day.
URL_LIFE_S = 2 * 24 * 3600


def entries(
    inputs: Mapping[str, Path], bucket: Bucket | None, volume_ids: tuple[str, ...], report: Report
) -> list[Json]:
    """What the worker is told of each file (`worker/queue_inputs.py`); large ones are sent now.

    Raises UsageError for large files without a bucket, and what Bucket raises.
    """
    size_bytes = sum(path.stat().st_size for path in inputs.values())
    if size_bytes <= INLINE_LIMIT_BYTES:
        return [_inline(name, path) for name, path in inputs.items()]
    if bucket is None:
        raise UsageError(
            f"the files of this job have {size_bytes / 1e6:.1f} MB; RunPod's queue carries "
            f"{INLINE_LIMIT_BYTES / 1e6:.0f} MB",
            hint="give gpuctl a bucket for large files (s3.bucket, s3.endpoint_url, keys), or "
            "the endpoint's network volume as one: gpuctl config show s3",
        )
    return [_sent(name, path, bucket, volume_ids, report) for name, path in inputs.items()]


def _inline(name: str, path: Path) -> Json:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return {"path": name, "sha256": digest, "data": base64.b64encode(content).decode()}


def _sent(
    name: str, path: Path, bucket: Bucket, volume_ids: tuple[str, ...], report: Report
) -> Json:
    with path.open("rb") as stream:
        entry: Json = {"path": name, "sha256": hashlib.file_digest(stream, "sha256").hexdigest()}
    is_volume = bucket.access.is_volume
    if is_volume and bucket.access.bucket not in volume_ids:
        raise UsageError(
            f"s3.bucket is the network volume {bucket.access.bucket}, which this endpoint does not "
            "mount",
            hint="gpuctl endpoint update ENDPOINT --volume ID, or another bucket",
        )
    # On a volume the file lies where the worker looks for it; its name is made from its content.
    key = name if is_volume else f"{PREFIX}/{name}"
    if bucket.size(key) != path.stat().st_size:
        report.step(f"sending {path.name} to bucket {bucket.access.bucket}")
        bucket.put(path, key)
    return entry if is_volume else {**entry, "url": bucket.signed_url(key, life_s=URL_LIFE_S)}
