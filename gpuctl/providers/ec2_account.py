"""An AWS account as far as it bills for GPUs: instances and EBS disks of one region."""

from __future__ import annotations

from gpuctl.clients.ec2_api import Ec2Api
from gpuctl.holdings import HOURS_A_MONTH, Holding
from gpuctl.models import Json

NAME = "ec2"
# A tag with this key, or one that begins so, marks what gpuctl made.
TAG = "gpuctl"
# List prices of us-east-1 as of 2026-11, USD an hour on demand; other regions differ by a tenth or
# two. A type that is not here has an unknown price, and the total says so.
INSTANCE_USD_H = {
    "g4dn.xlarge": 0.526,
    "g4dn.2xlarge": 0.752,
    "g4dn.4xlarge": 1.204,
    "g5.xlarge": 1.006,
    "g5.2xlarge": 1.212,
    "g6.xlarge": 0.805,
    "g6.2xlarge": 0.978,
}
DISK_USD_GB_MONTH = {"gp3": 0.08, "gp2": 0.10, "io1": 0.125, "io2": 0.125, "st1": 0.045}


class Ec2Account:
    """One region of it. Errors are those of clients/ec2_api.py."""

    name = NAME

    def __init__(self, api: Ec2Api) -> None:
        self.api = api

    @property
    def region(self) -> str:
        return self.api.region

    def holdings(self) -> list[Holding]:
        machines = [_instance(each, self.region) for each in self.api.instances()]
        return machines + [_disk(each, self.region) for each in self.api.disks()]

    def terminate(self, instance_id: str) -> None:
        self.api.terminate(instance_id)

    def is_gone(self, instance_id: str) -> bool:
        return self.api.state(instance_id) == "terminated"


def _instance(instance: Json, region: str) -> Holding:
    kind, state = str(instance.get("InstanceType")), str(instance["State"]["Name"])
    is_running = state not in ("stopped", "stopping")
    launched = instance.get("LaunchTime")
    tags = _tags(instance)
    return Holding(
        provider=NAME,
        kind="instance",
        id=str(instance["InstanceId"]),
        name=tags.get("Name", ""),
        status=state.upper(),
        detail=kind,
        usd_h=INSTANCE_USD_H.get(kind) if is_running else 0.0,
        is_running=is_running,
        place=region,
        workload=tags.get("gpuctl:workload"),
        created_at=launched.isoformat() if launched else None,
        tag=_mark(tags),
    )


def _disk(disk: Json, region: str) -> Holding:
    uses = disk.get("Attachments") or ()
    tier, size_gb, tags = str(disk.get("VolumeType")), int(disk.get("Size") or 0), _tags(disk)
    price = DISK_USD_GB_MONTH.get(tier)
    return Holding(
        provider=NAME,
        kind="disk",
        id=str(disk["VolumeId"]),
        name=tags.get("Name", ""),
        status=str(disk.get("State", "")).upper(),
        detail=f"{size_gb} GB {tier}",
        usd_h=None if price is None else size_gb * price / HOURS_A_MONTH,
        is_running=False,
        place=region,
        tag=_mark(tags),
        attached_to=tuple(str(use["InstanceId"]) for use in uses),
        ends_with_them=bool(uses) and all(use.get("DeleteOnTermination") for use in uses),
    )


def _tags(thing: Json) -> dict[str, str]:
    return {str(tag["Key"]): str(tag["Value"]) for tag in thing.get("Tags", ())}


def _mark(tags: dict[str, str]) -> str | None:
    return next((value for key, value in tags.items() if key.split(":")[0] == TAG), None)
