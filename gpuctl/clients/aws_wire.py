"""How AWS is spoken to: one client per service and region, and its errors in gpuctl's words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gpuctl.clients.aws_sts import REFUSALS, AwsAccess
from gpuctl.errors import ApiError, CredentialsError, NoCapacity, NotFound, UsageError

# Every zone, or this one, has no such machine now; another zone or type may.
CAPACITY = (
    "InsufficientInstanceCapacity",
    "InsufficientHostCapacity",
    "InsufficientCapacity",
    "SpotMaxPriceTooLow",
)
# The type is not offered in that zone; longer codes that begin so mean something else.
NOT_THERE = "Unsupported"
# The account may not have so many, wherever it asks.
QUOTA = (
    "VcpuLimitExceeded",
    "InstanceLimitExceeded",
    "MaxSpotInstanceCountExceeded",
)
# The order itself is wrong, in every zone.
ORDER = ("InvalidParameter", "InvalidInstanceType", "InvalidKey.Format", "MissingParameter")
THROTTLED = ("RequestLimitExceeded", "Throttling")


class QuotaRefused(NoCapacity):
    """The account's quota is used up or zero: no zone and no type of the family will do."""

    code = "quota"


def client(access: AwsAccess, service: str, region: str, timeout_s: float) -> Any:
    """A boto3 client; nothing is asked yet. Raises what `named_errors` names."""
    import boto3  # noqa: PLC0415  300 ms, only when AWS is asked
    from botocore.config import Config  # noqa: PLC0415  loaded by boto3

    secret, token = access.secret_access_key, access.session_token
    session = boto3.Session(
        profile_name=access.profile if secret is None else None,
        aws_access_key_id=access.access_key_id if secret else None,
        aws_secret_access_key=secret.reveal() if secret else None,
        aws_session_token=token.reveal() if secret and token else None,
    )
    limits = Config(
        connect_timeout=timeout_s,
        read_timeout=timeout_s,
        retries={"max_attempts": 2, "mode": "standard"},
    )
    return session.client(
        service, region_name=region, endpoint_url=access.endpoint_url, config=limits
    )


@contextmanager
def named_errors(service: str, region: str) -> Iterator[None]:
    """Turns botocore's exceptions into CredentialsError, NotFound, NoCapacity, UsageError and
    ApiError (`status` None without an answer; `details["sent"]` False when nothing was sent)."""
    from botocore import exceptions  # noqa: PLC0415  loaded by boto3
    from botocore.parsers import ResponseParserError  # noqa: PLC0415  likewise, and no BotoCoreError

    try:
        yield
    except exceptions.ClientError as error:
        raise _named(error.response, f"{service} in {region}") from error
    except (
        exceptions.NoCredentialsError,
        exceptions.PartialCredentialsError,
        exceptions.ProfileNotFound,
    ) as error:
        raise CredentialsError(f"AWS: {error}", hint="gpuctl doctor") from error
    except (exceptions.EndpointConnectionError, exceptions.ConnectTimeoutError) as error:
        raise ApiError(
            f"{service} in {region} cannot be asked: {error}", details={"sent": False}
        ) from error
    except ResponseParserError as error:
        # A page of some proxy in between: nobody knows what became of the call.
        raise ApiError(f"{service} in {region} answered something unreadable") from error
    except (exceptions.BotoCoreError, ValueError) as error:
        raise ApiError(f"{service} in {region} cannot be asked: {error}") from error


def _named(response: Any, where: str) -> Exception:
    found = response.get("Error", {})
    code, said = str(found.get("Code", "unknown")), str(found.get("Message", ""))
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    message, details = f"{where} answered {code}: {said}", {"aws_code": code}
    if code.startswith((*REFUSALS, "UnauthorizedOperation")):
        return CredentialsError(message, hint="gpuctl doctor", details=details)
    if code.startswith(QUOTA):
        return QuotaRefused(message, details=details)
    if code.startswith(CAPACITY) or code == NOT_THERE:
        return NoCapacity(message, details=details)
    if code.startswith(ORDER):
        return UsageError(message, details=details)
    if "NotFound" in code or code.startswith("NoSuchResource"):
        return NotFound(message, details=details)
    if code.startswith(THROTTLED):
        return ApiError(message, status=429, details=details, retry_after_s=5.0)
    return ApiError(message, status=status, details=details)
