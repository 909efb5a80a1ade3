"""AWS's Security Token Service: who the configured credentials belong to."""

from __future__ import annotations

from dataclasses import dataclass

from gpuctl.errors import ApiError, CredentialsError
from gpuctl.models import Secret

# STS needs some region for its address; this one exists for every account.
FALLBACK_REGION = "us-east-1"
REFUSALS = (
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "AccessDenied",
    "UnrecognizedClientException",
    "AuthFailure",
)


@dataclass(frozen=True, slots=True)
class AwsAccess:
    """How AWS is reached. None leaves it to boto3's own search (environment, ~/.aws)."""

    profile: str | None = None
    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: Secret | None = None
    session_token: Secret | None = None
    endpoint_url: str | None = None


def caller(access: AwsAccess, timeout_s: float) -> str:
    """The caller's ARN, by GetCallerIdentity: it needs no permission at all.

    Raises CredentialsError when there are none or they are refused, ApiError for the rest.
    """
    import boto3  # noqa: PLC0415  300 ms, only when AWS is asked
    from botocore import exceptions  # noqa: PLC0415  loaded by boto3
    from botocore.config import Config  # noqa: PLC0415  likewise

    secret, token = access.secret_access_key, access.session_token
    try:
        session = boto3.Session(
            profile_name=access.profile if secret is None else None,
            region_name=access.region,
            aws_access_key_id=access.access_key_id if secret else None,
            aws_secret_access_key=secret.reveal() if secret else None,
            aws_session_token=token.reveal() if secret and token else None,
        )
        client = session.client(
            "sts",
            region_name=session.region_name or FALLBACK_REGION,
            endpoint_url=access.endpoint_url,
            config=Config(
                connect_timeout=timeout_s,
                read_timeout=timeout_s,
                retries={"max_attempts": 0, "mode": "standard"},
            ),
        )
        return str(client.get_caller_identity()["Arn"])
    except exceptions.ClientError as error:
        raise _refused(error.response.get("Error", {})) from error
    except (
        exceptions.NoCredentialsError,
        exceptions.PartialCredentialsError,
        exceptions.ProfileNotFound,
    ) as error:
        raise CredentialsError(f"AWS: {error}") from error
    except (exceptions.BotoCoreError, ValueError) as error:
        raise ApiError(f"AWS cannot be asked: {error}") from error


def _refused(error: object) -> ApiError | CredentialsError:
    found = error if isinstance(error, dict) else {}
    said = f"{found.get('Code', 'unknown')}: {found.get('Message', 'no explanation')}"
    if str(found.get("Code", "")).startswith(REFUSALS):
        return CredentialsError(f"AWS refused the credentials: {said}")
    return ApiError(f"AWS answered {said}")
