"""What an instance is made of, looked up before anything is billed: image, key, group, quota."""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass

from gpuctl.clients import aws_lookups
from gpuctl.clients.aws_sts import AwsAccess
from gpuctl.clients.aws_wire import QuotaRefused
from gpuctl.clients.ec2_rental import Ec2Rental
from gpuctl.errors import ApiError, CredentialsError, GpuctlError, NotFound, UsageError
from gpuctl.models import Json, Report
from gpuctl.providers.ec2_order import Launch
from gpuctl.services import ec2_script

KEY_TAG, GROUP_TAG = "gpuctl:key", "gpuctl:ssh"
# The two quotas that count vCPUs of the G and VT families, on demand and spot.
QUOTAS = {
    False: ("L-DB2E81BA", "Running On-Demand G and VT instances"),
    True: ("L-3819A6DF", "All G and VT Spot Instance Requests"),
}


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is asked for, flags over configuration. Times in seconds; `ends_at` is Unix seconds.

    `admitted` is the network that may ssh in, None to ask `address_url` for our address.
    """

    region: str
    types: tuple[str, ...]
    ami_parameter: str
    user: str
    ttl_s: float
    expires_at: str
    is_spot: bool
    subnet_id: str | None
    admitted: str | None
    address_url: str
    timeout_s: float


def launch_of(
    wishes: Wishes, access: AwsAccess, api: Ec2Rental, public_key: str, report: Report
) -> Launch:
    """Everything resolved; makes the key pair and the security group where they are missing.

    Neither bills anything. Raises QuotaRefused, NotFound, UsageError, CredentialsError, ApiError.
    """
    report.step(f"asking EC2 in {wishes.region} for its machine image, quota and zones")
    kinds = _allowed(wishes, access, api, report)
    ami = _ami(wishes, access)
    key_id = _key_id(public_key)
    key_name = _key(api, key_id, public_key)
    group_id = _group(api, key_id, wishes, report)
    zones = {kind: tuple(places) for kind, places in api.zones(kinds).items()}
    _refuse_absent(wishes, zones)
    return Launch(
        region=wishes.region,
        types=kinds,
        ami=ami,
        root_device=api.root_device(ami),
        key_name=key_name,
        group_id=group_id,
        user_data=ec2_script.user_data(max(1, round(wishes.ttl_s / 60)), wishes.user),
        expires_at=wishes.expires_at,
        is_spot=wishes.is_spot,
        subnet_id=wishes.subnet_id,
        zones=zones,
    )


def quota_hint(region: str, is_spot: bool) -> str:
    """Where one asks for more, by the name under which it is found there."""
    code, title = QUOTAS[is_spot]
    return (
        f'ask for more of "{title}": https://{region}.console.aws.amazon.com/servicequotas/home/'
        f"services/ec2/quotas/{code}"
    )


def _allowed(wishes: Wishes, access: AwsAccess, api: Ec2Rental, report: Report) -> tuple[str, ...]:
    """The types that the quota has room for. One that cannot be read is left to EC2 to judge."""
    vcpus = _vcpus(wishes, api)
    code, title = QUOTAS[wishes.is_spot]
    try:
        value = aws_lookups.quota(access, wishes.region, code, wishes.timeout_s)
    except (CredentialsError, NotFound, ApiError) as error:
        report.warn(f'the quota "{title}" could not be read: {error.message}')
        return wishes.types
    used = _used(api, wishes.is_spot)
    fits = tuple(kind for kind in wishes.types if vcpus[kind] <= value - used)
    if not fits:
        least = min(wishes.types, key=lambda kind: vcpus[kind])
        raise QuotaRefused(
            f'the quota "{title}" ({code}) in {wishes.region} is {value:.0f} vCPUs, {used} are in '
            f"use, and {least} needs {vcpus[least]}",
            hint=quota_hint(wishes.region, wishes.is_spot),
            details={"quota": code, "value": value, "used": used},
        )
    return fits


def _vcpus(wishes: Wishes, api: Ec2Rental) -> dict[str, int]:
    try:
        return api.vcpus(wishes.types)
    except (UsageError, NotFound) as error:
        raise UsageError(
            f"{error.message}", hint="--type, or ec2.types: names as in the EC2 console"
        ) from error


def _used(api: Ec2Rental, is_spot: bool) -> int:
    """vCPUs of the same quota that run now."""
    kinds = [
        str(each.get("InstanceType"))
        for each in api.instances()
        if (each.get("InstanceLifecycle") == "spot") == is_spot
        and each["State"]["Name"] in ("pending", "running")
        and str(each.get("InstanceType")).startswith(("g", "vt"))
    ]
    vcpus = api.vcpus(kinds) if kinds else {}
    return sum(vcpus[kind] for kind in kinds)


def _ami(wishes: Wishes, access: AwsAccess) -> str:
    """The newest image, by the parameter that AWS keeps for it."""
    if wishes.ami_parameter.startswith("ami-"):
        return wishes.ami_parameter
    try:
        return aws_lookups.parameter(access, wishes.region, wishes.ami_parameter, wishes.timeout_s)
    except NotFound as error:
        raise NotFound(
            f"{wishes.region} has no parameter {wishes.ami_parameter}: {error.message}",
            hint="set ec2.ami_parameter to one that exists there, or to an AMI id",
        ) from error


def _key_id(public_key: str) -> str:
    """Twelve letters that stand for the key itself, whatever its comment says."""
    return hashlib.sha256(" ".join(public_key.split()[:2]).encode()).hexdigest()[:12]


def _key(api: Ec2Rental, key_id: str, public_key: str) -> str:
    name = f"gpuctl-{key_id}"
    if not api.key_is_there(name):
        try:
            api.import_key(name, public_key, {KEY_TAG: key_id})
        except GpuctlError:
            if not api.key_is_there(name):  # else another gpuctl was quicker
                raise
    return name


def _group(api: Ec2Rental, key_id: str, wishes: Wishes, report: Report) -> str:
    """The group of this key, with one rule: ssh, from where we are. Found by its tag, or made."""
    network = admitted_network(wishes)
    vpc_id = api.vpc_of(wishes.subnet_id) if wishes.subnet_id else None
    group = _ours(api, key_id, vpc_id) or _made(api, key_id, vpc_id)
    wanted = _rule(network)
    kept, others = _sorted_rules(group.get("IpPermissions", ()), wanted)
    if others:
        api.shut_out(str(group["GroupId"]), others)
    if not kept:
        api.admit(str(group["GroupId"]), wanted)
        report.note(f"ssh is open to {network} alone")
    return str(group["GroupId"])


def admitted_network(wishes: Wishes) -> str:
    """`--from`, else our own address as the world sees it. Raises UsageError, ApiError."""
    text = wishes.admitted
    if text is None:
        try:
            text = aws_lookups.public_address(wishes.address_url, wishes.timeout_s)
        except ApiError as error:
            raise ApiError(error.message, hint="say it yourself: --from 203.0.113.7/32") from error
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise UsageError(f"--from {text}: {error}", hint="--from 203.0.113.7/32") from error
    if network.prefixlen == 0:
        raise UsageError("ssh is not opened to the whole world", hint="--from 203.0.113.7/32")
    return str(network)


def _ours(api: Ec2Rental, key_id: str, vpc_id: str | None) -> Json | None:
    for group in api.groups(GROUP_TAG, vpc_id):
        tags = {tag["Key"]: tag["Value"] for tag in group.get("Tags", ())}
        if tags.get(GROUP_TAG) == key_id:
            return group
    return None


def _made(api: Ec2Rental, key_id: str, vpc_id: str | None) -> Json:
    """A name that somebody else took is left to them: the tag is what counts."""
    for name in (f"gpuctl-{key_id}", f"gpuctl-{key_id}-ssh"):
        try:
            group_id = api.make_group(name, "ssh to gpuctl's machines", vpc_id, {GROUP_TAG: key_id})
        except ApiError as error:
            if error.details.get("aws_code") != "InvalidGroup.Duplicate":
                raise
            if found := _ours(api, key_id, vpc_id):  # another gpuctl was quicker
                return found
            continue
        return {"GroupId": group_id}
    raise ApiError(
        f"security groups called gpuctl-{key_id} exist, and are not tagged {GROUP_TAG}={key_id}",
        hint="delete them in the EC2 console, or tag the one to use",
    )


def _rule(network: str) -> Json:
    is_v6 = ":" in network
    ranges: Json = (
        {"Ipv6Ranges": [{"CidrIpv6": network}]} if is_v6 else {"IpRanges": [{"CidrIp": network}]}
    )
    return {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, **ranges}


def _sorted_rules(rules: list[Json], wanted: Json) -> tuple[bool, list[Json]]:
    """Whether the wanted rule is there, and everything else that is let in."""
    flat = [one for rule in rules for one in _split(rule)]
    return wanted in flat, [one for one in flat if one != wanted]


def _split(rule: Json) -> list[Json]:
    """A rule of several networks as one rule for each."""
    ends: Json = {name: rule[name] for name in ("IpProtocol", "FromPort", "ToPort") if name in rule}
    return [
        {**ends, kind: [{key: each[key]}]}
        for kind, key in (
            ("IpRanges", "CidrIp"),
            ("Ipv6Ranges", "CidrIpv6"),
            ("UserIdGroupPairs", "GroupId"),
            ("PrefixListIds", "PrefixListId"),
        )
        for each in rule.get(kind) or ()
    ]


def _refuse_absent(wishes: Wishes, zones: dict[str, tuple[str, ...]]) -> None:
    if not any(zones.values()):
        raise UsageError(
            f"{wishes.region} offers none of {', '.join(wishes.types)}", hint="--region or --type"
        )
