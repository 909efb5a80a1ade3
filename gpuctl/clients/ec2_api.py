"""EC2 as far as money needs it: what runs, what is stored, in which region, and its end."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any

from gpuctl.clients.aws_sts import AwsAccess
from gpuctl.clients.aws_wire import client, named_errors
from gpuctl.errors import NotFound
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
        return client(self._access, "ec2", self.region, self._timeout_s)


def _named_errors(region: str) -> AbstractContextManager[None]:
    return named_errors("EC2", region)
