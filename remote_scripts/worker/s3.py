"""Results that are too large to travel inside an answer: into a bucket, out by a presigned URL."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from worker.report import Failure

# Seven days is the longest that S3 signs for.
DEFAULT_LIFE_S = 7 * 24 * 3600
ATTEMPTS = 5
CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 120
REMEDY = "check S3_ENDPOINT_URL, S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY and S3_BUCKET_NAME"
# The service for network volumes signs no URLs (facts: runpod.md §7.2).
_UNSIGNED_HOST = "s3api-"


@dataclass(frozen=True)
class Bucket:
    """Where uploads go. `endpoint_url` None means AWS itself."""

    name: str
    endpoint_url: str | None
    access_key_id: str | None
    secret_access_key: str | None
    region: str | None

    def __repr__(self) -> str:
        return f"Bucket({self.name!r})"

    @property
    def signs_urls(self) -> bool:
        host = urlsplit(self.endpoint_url or "").hostname or ""
        return not (host.startswith(_UNSIGNED_HOST) and host.endswith(".runpod.io"))


def configured() -> Bucket | None:
    """The bucket that the environment names; None without S3_BUCKET_NAME."""
    name = os.environ.get("S3_BUCKET_NAME")
    if not name:
        return None
    given = os.environ.get
    return Bucket(
        name=name,
        endpoint_url=given("S3_ENDPOINT_URL") or None,
        access_key_id=given("S3_ACCESS_KEY_ID") or None,
        secret_access_key=given("S3_SECRET_ACCESS_KEY") or None,
        region=given("S3_REGION") or None,
    )


def upload(path: Path, key: str, content_type: str, *, life_s: int = DEFAULT_LIFE_S) -> str:
    """Puts `path` under `key` and gives a URL that anybody may read for `life_s` seconds.

    Large files go in parts; an upload that breaks is tried again and leaves no half object.
    A service that signs no URLs gives `s3://bucket/key`. Raises Failure: nothing was uploaded.
    """
    bucket = configured()
    if bucket is None:
        raise Failure("failed", "no S3 bucket is configured on this worker", REMEDY)
    client, errors = _connected(bucket)
    try:
        client.upload_file(str(path), bucket.name, key, ExtraArgs={"ContentType": content_type})
        if not bucket.signs_urls:
            return f"s3://{bucket.name}/{key}"
        target = {"Bucket": bucket.name, "Key": key}
        url: str = client.generate_presigned_url("get_object", Params=target, ExpiresIn=life_s)
    except errors as error:
        # The message may quote a request; it never holds the secret, only the key's id.
        said = str(error).replace(bucket.access_key_id or "\0", "***")
        raise Failure(
            "failed", f"the upload of {path.name} to S3 failed: {said}", REMEDY
        ) from error
    return url


def _connected(bucket: Bucket) -> tuple[Any, tuple[type[Exception], ...]]:
    """A client, and what its calls may raise. Raises Failure without boto3."""
    try:
        import boto3
        from boto3.exceptions import Boto3Error
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError as error:
        raise Failure(
            "failed", "boto3 is not installed on this worker", "add boto3 to the image"
        ) from error
    settings: Any = Config(
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        retries={"max_attempts": ATTEMPTS, "mode": "standard"},
        # Checksums by trailer have broken other makers' services (facts: runpod.md §7.2).
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path"},
    )
    try:
        client = boto3.client(
            "s3",
            endpoint_url=bucket.endpoint_url,
            aws_access_key_id=bucket.access_key_id,
            aws_secret_access_key=bucket.secret_access_key,
            region_name=bucket.region or "us-east-1",
            config=settings,
        )
    except (BotoCoreError, ValueError) as error:
        raise Failure("failed", f"S3 cannot be used: {error}", REMEDY) from error
    return client, (Boto3Error, BotoCoreError, ClientError, OSError)
