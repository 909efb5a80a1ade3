"""A bucket, wherever it is: files into it, out of it, and addresses that others may read from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gpuctl.errors import ApiError, CredentialsError, GpuctlError, NotFound
from gpuctl.models import Secret

ATTEMPTS = 5
# A part of a large file may take its time.
READ_TIMEOUT_S = 300.0
HINT = "gpuctl config show s3"
# RunPod's service for network volumes signs no addresses (facts: runpod.md §7.2).
_VOLUME_HOST = ("s3api-", ".runpod.io")


@dataclass(frozen=True, slots=True)
class BucketAccess:
    """`endpoint_url` None = AWS's own; without keys boto3 looks for them in its own way."""

    bucket: str
    endpoint_url: str | None = None
    access_key_id: str | None = None
    secret_access_key: Secret | None = None
    region: str | None = None

    @property
    def is_volume(self) -> bool:
        """Whether the bucket is a RunPod network volume: its files lie where workers see them."""
        host = urlsplit(self.endpoint_url or "").hostname or ""
        return host.startswith(_VOLUME_HOST[0]) and host.endswith(_VOLUME_HOST[1])


class Bucket:
    """Nothing is opened, and boto3 is not loaded, before use.

    Raises CredentialsError when the keys are refused, NotFound, ApiError.
    """

    def __init__(self, access: BucketAccess, *, timeout_s: float = 30.0) -> None:
        self.access = access
        self._timeout_s = timeout_s

    def size(self, key: str) -> int | None:
        """Bytes of the object, None when there is none."""
        try:
            with self._named_errors():
                return int(self._client.head_object(Bucket=self._name, Key=key)["ContentLength"])
        except NotFound:
            return None

    def put(self, source: Path, key: str, *, media_type: str = "application/octet-stream") -> None:
        """In parts when it is large; what breaks leaves no half object."""
        extra = {"ContentType": media_type}
        with self._named_errors():
            self._client.upload_file(str(source), self._name, key, ExtraArgs=extra)

    def get(self, key: str, target: Path) -> None:
        with self._named_errors():
            self._client.download_file(self._name, key, str(target))

    def delete(self, key: str) -> None:
        with self._named_errors():
            self._client.delete_object(Bucket=self._name, Key=key)

    def signed_url(self, key: str, *, life_s: int) -> str:
        """Whoever has it may read the object for `life_s` seconds."""
        with self._named_errors():
            url: str = self._client.generate_presigned_url(
                "get_object", Params={"Bucket": self._name, "Key": key}, ExpiresIn=life_s
            )
        return url

    @property
    def _name(self) -> str:
        return self.access.bucket

    @cached_property
    def _client(self) -> Any:
        import boto3  # noqa: PLC0415  300 ms, only when a bucket is used
        from botocore.config import Config  # noqa: PLC0415  loaded by boto3

        access = self.access
        settings: Any = Config(
            connect_timeout=self._timeout_s,
            read_timeout=READ_TIMEOUT_S,
            retries={"max_attempts": ATTEMPTS, "mode": "standard"},
            # Checksums by trailer have broken other makers' services (runpod.md §7.2).
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path"},
        )
        return boto3.client(
            "s3",
            endpoint_url=access.endpoint_url,
            aws_access_key_id=access.access_key_id,
            aws_secret_access_key=(
                access.secret_access_key.reveal() if access.secret_access_key else None
            ),
            region_name=access.region or "us-east-1",
            config=settings,
        )

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        from boto3.exceptions import Boto3Error  # noqa: PLC0415  loaded by the client
        from botocore import exceptions  # noqa: PLC0415  likewise

        try:
            yield
        except exceptions.ClientError as error:
            raise self._named(error.response) from error
        except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError) as error:
            raise CredentialsError(f"bucket {self._name}: {error}", hint=HINT) from error
        except (exceptions.BotoCoreError, Boto3Error, ValueError) as error:
            raise ApiError(f"bucket {self._name} cannot be used: {error}", hint=HINT) from error

    def _named(self, response: Any) -> GpuctlError:
        found = response.get("Error", {})
        code, said = str(found.get("Code", "unknown")), str(found.get("Message", ""))
        message = f"bucket {self._name} answered {code}: {said}"
        if code in ("404", "NoSuchKey", "NoSuchBucket", "NotFound"):
            return NotFound(message, hint=HINT)
        if code in ("403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"):
            return CredentialsError(message, hint=HINT)
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return ApiError(message, status=status, hint=HINT)
