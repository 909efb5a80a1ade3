"""What an instance is ordered as: everything that RunInstances is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gpuctl.models import Json, MachineRequest, Offer

NAME_TAG, WORKLOAD_TAG, IMAGE_TAG = "gpuctl:name", "gpuctl:workload", "gpuctl:image"
EXPIRES_TAG = "gpuctl:expires-at"


@dataclass(frozen=True, slots=True)
class Launch:
    """What every attempt of one order shares, looked up before the first billed call.

    `types` best first; `zones` where each is offered; `expires_at` is RFC 3339; `user_data` arms
    the timer on its first line. `subnet_id` None takes the default VPC.
    """

    region: str
    types: tuple[str, ...]
    ami: str
    root_device: str
    key_name: str
    group_id: str
    user_data: str
    expires_at: str
    is_spot: bool = False
    subnet_id: str | None = None
    zones: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def run_body(launch: Launch, request: MachineRequest, offer: Offer) -> Json:
    """RunInstances, in full. Its ClientToken makes a repeated call the same instance."""
    tags = _tags(request, launch)
    body: Json = {
        "ImageId": launch.ami,
        "InstanceType": offer.gpu_id,
        "MinCount": 1,
        "MaxCount": 1,
        "ClientToken": f"{request.name}-{offer.data_centers[0]}",
        "KeyName": launch.key_name,
        **_network(launch),
        "UserData": launch.user_data,
        "InstanceInitiatedShutdownBehavior": "terminate",
        "MetadataOptions": {
            "HttpTokens": "required",
            "HttpEndpoint": "enabled",
            "HttpPutResponseHopLimit": 1,
        },
        "BlockDeviceMappings": [_disk(launch.root_device, request.need.disk_gb)],
        "TagSpecifications": [
            {"ResourceType": "instance", "Tags": tags},
            {"ResourceType": "volume", "Tags": tags},
        ],
    }
    if launch.subnet_id is None and offer.data_centers[0] != launch.region:
        body["Placement"] = {"AvailabilityZone": offer.data_centers[0]}
    if launch.is_spot:
        body["InstanceMarketOptions"] = {
            "MarketType": "spot",
            "SpotOptions": {
                "SpotInstanceType": "one-time",
                "InstanceInterruptionBehavior": "terminate",
            },
        }
    return body


def _tags(request: MachineRequest, launch: Launch) -> list[Json]:
    tags = {
        "Name": request.name,
        NAME_TAG: request.name,
        WORKLOAD_TAG: request.workload,
        IMAGE_TAG: request.need.image[:256],
        EXPIRES_TAG: launch.expires_at,
    }
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _network(launch: Launch) -> Json:
    """The default VPC gives a public address by itself; a subnet that is named may not."""
    if launch.subnet_id is None:
        return {"SecurityGroupIds": [launch.group_id]}
    interface = {
        "DeviceIndex": 0,
        "SubnetId": launch.subnet_id,
        "Groups": [launch.group_id],
        "AssociatePublicIpAddress": True,
        "DeleteOnTermination": True,
    }
    return {"NetworkInterfaces": [interface]}


def _disk(root_device: str, disk_gb: int) -> Json:
    return {
        "DeviceName": root_device,
        "Ebs": {
            "VolumeSize": disk_gb,
            "VolumeType": "gp3",
            "Encrypted": True,
            "DeleteOnTermination": True,
        },
    }
