"""EC2 as far as money needs it: what runs, what is stored, in which region, and its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from gpuctl.clients.aws_sts import REFUSALS, AwsAccess
from gpuctl.errors import ApiError, CredentialsError, NotFound
from gpuctl.models import Json


class Ec2Api:
    """One region. Nothing is opened, and boto3 is not loaded, before use.

    Raises CredentialsError when there are none or they are refused, NotFound, ApiError.
    """

    def __init__(self, access: AwsAccess, region: str, timeout_s: float) -> None:
        self.region = region
        self._access = access
        self._timeout_s = timeout_s

    def instances(self) -> list[Json]:
        """Every instance that is not gone, running or stopped."""
        with _named_errors(self.region):
            pages = self._client.get_paginator("describe_instances").paginate()
            found = [
                instance
                for page in pages
                for reservation in page.get("Reservations", ())
                for instance in reservation.get("Instances", ())
            ]
        gone = ("terminated", "shutting-down")
        return [each for each in found if each.get("State", {}).get("Name") not in gone]

    def disks(self) -> list[Json]:
        """Every EBS volume, attached or not."""
        with _named_errors(self.region):
            pages = self._client.get_paginator("describe_volumes").paginate()
            return [volume for page in pages for volume in page.get("Volumes", ())]

    def state(self, instance_id: str) -> str:
        """running, shutting-down, terminated, …; terminated when it is not listed any more."""
        try:
            with _named_errors(self.region):
                answer = self._client.describe_instances(InstanceIds=[instance_id])
        except NotFound:
            return "terminated"
        found = [
            instance for each in answer.get("Reservations", ()) for instance in each["Instances"]
        ]
        return str(found[0]["State"]["Name"]) if found else "terminated"

    def terminate(self, instance_id: str) -> None:
        """Something already gone is success."""
        try:
            with _named_errors(self.region):
                self._client.terminate_instances(InstanceIds=[instance_id])
        except NotFound:
            return

    @cached_property
    def _client(self) -> Any:
        import boto3  # noqa: PLC0415  300 ms, only when AWS is asked
        from botocore.config import Config  # noqa: PLC0415  loaded by boto3

        access, secret = self._access, self._access.secret_access_key
        token = access.session_token
        session = boto3.Session(
            profile_name=access.profile if secret is None else None,
            aws_access_key_id=access.access_key_id if secret else None,
            aws_secret_access_key=secret.reveal() if secret else None,
            aws_session_token=token.reveal() if secret and token else None,
        )
        limits = Config(
            connect_timeout=self._timeout_s,
            read_timeout=self._timeout_s,
            retries={"max_attempts": 2, "mode": "standard"},
        )
        return session.client(
            "ec2", region_name=self.region, endpoint_url=access.endpoint_url, config=limits
        )


@contextmanager
def _named_errors(region: str) -> Iterator[None]:
    from botocore import exceptions  # noqa: PLC0415  loaded by boto3

    try:
        yield
    except exceptions.ClientError as error:
        found = error.response.get("Error", {})
        code, said = str(found.get("Code", "unknown")), str(found.get("Message", ""))
        message = f"EC2 in {region} answered {code}: {said}"
        if code.startswith((*REFUSALS, "UnauthorizedOperation")):
            raise CredentialsError(message, hint="gpuctl doctor") from error
        if ".NotFound" in code:
            raise NotFound(message) from error
        raise ApiError(message) from error
    except (
        exceptions.NoCredentialsError,
        exceptions.PartialCredentialsError,
        exceptions.ProfileNotFound,
    ) as error:
        raise CredentialsError(f"AWS: {error}", hint="gpuctl doctor") from error
    except (exceptions.BotoCoreError, ValueError) as error:
        raise ApiError(f"EC2 in {region} cannot be asked: {error}") from error
