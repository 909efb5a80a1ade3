"""EC2 as far as renting needs it: instances with their keys, groups, images and places."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gpuctl.clients.aws_wire import named_errors
from gpuctl.clients.ec2_api import Ec2Api
from gpuctl.errors import NotFound
from gpuctl.models import Json

# Everything but `terminated`: an instance that is on its way out is still told of.
_THERE = ("pending", "running", "stopping", "stopped", "shutting-down")


class Ec2Rental(Ec2Api):
    """One region. Bodies go out as they are given; errors are those of clients/aws_wire.py."""

    @property
    def is_loopback(self) -> bool:
        from urllib.parse import urlsplit  # noqa: PLC0415  loaded by boto3

        host = urlsplit(self._access.endpoint_url or "").hostname or ""
        return host == "localhost" or host.startswith("127.")

    def run(self, body: Json) -> Json:
        """RunInstances for one; raises NoCapacity, QuotaRefused, UsageError, NotFound, ApiError."""
        found: Json = self._asked("run_instances", **body)["Instances"][0]
        return found

    def instance(self, instance_id: str) -> Json:
        """Raises NotFound for one that EC2 does not know (any more)."""
        answer = self._asked("describe_instances", InstanceIds=[instance_id])
        found = _instances([answer])
        if not found:
            raise NotFound(f"EC2 in {self.region} lists no {instance_id}")
        return found[0]

    def tagged(self, key: str) -> list[Json]:
        """Every instance that carries this tag and is not terminated."""
        filters = [
            {"Name": "tag-key", "Values": [key]},
            {"Name": "instance-state-name", "Values": list(_THERE)},
        ]
        with named_errors("EC2", self.region):
            pages = self._client.get_paginator("describe_instances").paginate(Filters=filters)
            return _instances(pages)

    def start(self, instance_id: str) -> None:
        self._asked("start_instances", InstanceIds=[instance_id])

    def stop(self, instance_id: str) -> None:
        self._asked("stop_instances", InstanceIds=[instance_id])

    def reboot(self, instance_id: str) -> None:
        self._asked("reboot_instances", InstanceIds=[instance_id])

    def ends_at_shutdown(self, instance_id: str) -> bool:
        """Whether a shutdown from inside terminates it, as EC2 says now."""
        answer = self._asked(
            "describe_instance_attribute",
            InstanceId=instance_id,
            Attribute="instanceInitiatedShutdownBehavior",
        )
        found: Json = answer.get("InstanceInitiatedShutdownBehavior") or {}
        return found.get("Value") == "terminate"

    def console(self, instance_id: str) -> str:
        """What its serial console has said so far; empty when there is nothing yet."""
        answer = self._asked("get_console_output", InstanceId=instance_id, Latest=True)
        return str(answer.get("Output") or "")  # botocore has decoded it

    def tag(self, resource_id: str, tags: Mapping[str, str]) -> None:
        self._asked("create_tags", Resources=[resource_id], Tags=_tags(tags))

    # What an instance is made of.

    def root_device(self, ami: str) -> str:
        """The name of its root disk, /dev/sda1 or another. Raises NotFound for an unknown AMI."""
        found = self._asked("describe_images", ImageIds=[ami])["Images"]
        if not found:
            raise NotFound(f"there is no AMI {ami} in {self.region}")
        return str(found[0].get("RootDeviceName") or "/dev/sda1")

    def zones(self, kinds: Iterable[str]) -> dict[str, list[str]]:
        """Where each instance type is offered, zone by zone."""
        found: dict[str, list[str]] = {kind: [] for kind in kinds}
        filters = [{"Name": "instance-type", "Values": list(found)}]
        with named_errors("EC2", self.region):
            pages = self._client.get_paginator("describe_instance_type_offerings").paginate(
                LocationType="availability-zone", Filters=filters
            )
            rows = [row for page in pages for row in page.get("InstanceTypeOfferings", ())]
        for row in rows:
            found.setdefault(str(row["InstanceType"]), []).append(str(row["Location"]))
        return {kind: sorted(places) for kind, places in found.items()}

    def vcpus(self, kinds: Iterable[str]) -> dict[str, int]:
        """How many vCPUs each type counts for in a quota. Raises UsageError for an unknown type."""
        answer = self._asked("describe_instance_types", InstanceTypes=sorted(set(kinds)))
        return {
            str(row["InstanceType"]): int(row["VCpuInfo"]["DefaultVCpus"])
            for row in answer["InstanceTypes"]
        }

    def key_is_there(self, name: str) -> bool:
        try:
            return bool(self._asked("describe_key_pairs", KeyNames=[name])["KeyPairs"])
        except NotFound:
            return False

    def import_key(self, name: str, public_line: str, tags: Mapping[str, str]) -> None:
        self._asked(
            "import_key_pair",
            KeyName=name,
            PublicKeyMaterial=public_line.encode(),
            TagSpecifications=[{"ResourceType": "key-pair", "Tags": _tags(tags)}],
        )

    def groups(self, tag: str, vpc_id: str | None) -> list[Json]:
        """Security groups that carry the tag, oldest name first."""
        filters = [{"Name": "tag-key", "Values": [tag]}]
        if vpc_id:
            filters.append({"Name": "vpc-id", "Values": [vpc_id]})
        found: list[Json] = self._asked("describe_security_groups", Filters=filters)[
            "SecurityGroups"
        ]
        return sorted(found, key=lambda group: str(group["GroupName"]))

    def group_named(self, name: str, vpc_id: str | None) -> Json | None:
        filters = [{"Name": "group-name", "Values": [name]}]
        if vpc_id:
            filters.append({"Name": "vpc-id", "Values": [vpc_id]})
        found = self._asked("describe_security_groups", Filters=filters)["SecurityGroups"]
        return found[0] if found else None

    def make_group(
        self, name: str, description: str, vpc_id: str | None, tags: Mapping[str, str]
    ) -> str:
        """Raises ApiError with aws_code InvalidGroup.Duplicate when the name is taken."""
        place = {"VpcId": vpc_id} if vpc_id else {}
        answer = self._asked(
            "create_security_group",
            GroupName=name,
            Description=description,
            TagSpecifications=[{"ResourceType": "security-group", "Tags": _tags(tags)}],
            **place,
        )
        return str(answer["GroupId"])

    def admit(self, group_id: str, rule: Json) -> None:
        self._asked("authorize_security_group_ingress", GroupId=group_id, IpPermissions=[rule])

    def shut_out(self, group_id: str, rules: list[Json]) -> None:
        self._asked("revoke_security_group_ingress", GroupId=group_id, IpPermissions=rules)

    def vpc_of(self, subnet_id: str) -> str:
        """Raises NotFound."""
        return str(self._asked("describe_subnets", SubnetIds=[subnet_id])["Subnets"][0]["VpcId"])

    def _asked(self, verb: str, **arguments: Any) -> Any:
        with named_errors("EC2", self.region):
            return getattr(self._client, verb)(**arguments)


def _instances(pages: Iterable[Json]) -> list[Json]:
    return [
        instance
        for page in pages
        for reservation in page.get("Reservations", ())
        for instance in reservation.get("Instances", ())
    ]


def _tags(tags: Mapping[str, str]) -> list[Json]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
