"""EC2 instances as machines: what is on the wire, turned into gpuctl's words and back."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gpuctl.clients.ec2_rental import Ec2Rental
from gpuctl.errors import NotFound, UsageError
from gpuctl.models import Address, Json, Machine, MachineRequest, Need, Offer
from gpuctl.providers.base import LogLine
from gpuctl.providers.ec2_account import INSTANCE_USD_H
from gpuctl.providers.ec2_order import (
    EXPIRES_TAG,
    IMAGE_TAG,
    NAME_TAG,
    WORKLOAD_TAG,
    Launch,
    run_body,
)

NAME = "ec2"
ON_DEMAND, SPOT = "ON-DEMAND", "SPOT"
# The simulator's instances share one address, so each has a port of its own.
SSH_PORT_TAG = "gpuctl:sim-ssh-port"
# GPU and its memory in GB by instance family (describe-instance-types, 2026-11).
GPUS = {"g4dn": ("T4", 16), "g5": ("A10G", 24), "g6": ("L4", 24), "g6e": ("L40S", 48)}
# `shutting-down` cannot be undone and is not billed any more, so it counts as the end.
_STATUS = {
    "pending": "PROVISIONING",
    "running": "RUNNING",
    "stopping": "STOPPING",
    "stopped": "EXITED",
    "shutting-down": "TERMINATED",
    "terminated": "TERMINATED",
}


class Ec2Provider:
    """The Provider protocol over one or several regions of an account. Errors: clients/aws_wire.py.

    Only instances with gpuctl's tag are listed; `resources` shows all of the account.
    """

    name = NAME

    def __init__(
        self, regions: dict[str, Ec2Rental], user: str, launch: Launch | None = None
    ) -> None:
        """`user` is who the AMI lets in over ssh; without `launch` nothing can be created."""
        self.regions = regions
        self._user = user
        self._launch = launch
        self._homes: dict[str, str] = {}

    def prepared(self, launch: Launch) -> Ec2Provider:
        """The same account, able to create what `launch` describes."""
        return Ec2Provider(self.regions, self._user, launch)

    def offers(self, need: Need, *, cloud: str, gpu_count: int) -> list[Offer]:
        """The types in the order wished for: each first wherever EC2 likes, then zone by zone.

        `need.vram_gb` leaves out smaller GPUs. List prices; a spot instance costs less.
        """
        del cloud, gpu_count
        launch = self._order()
        cloud = SPOT if launch.is_spot else ON_DEMAND
        found = []
        for kind in launch.types:
            gpu, vram_gb = gpu_of(kind)
            if vram_gb < need.vram_gb:
                continue
            places = [launch.region]
            if launch.subnet_id is None:
                places += launch.zones.get(kind, ())
            found += [
                Offer(
                    provider=NAME,
                    gpu_id=kind,
                    gpu_name=f"{gpu} ({kind})",
                    cloud=cloud,
                    price_usd_h=INSTANCE_USD_H.get(kind, 0.0),
                    vram_gb=vram_gb,
                    data_centers=(place,),
                )
                for place in places
            ]
        return found

    def body(self, request: MachineRequest, offer: Offer) -> Json:
        """RunInstances, in full."""
        return run_body(self._order(), request, offer)

    def create(self, request: MachineRequest, offer: Offer) -> Machine:
        region = self._order().region
        return self._machine(self.regions[region].run(self.body(request, offer)), region)

    def get(self, machine_id: str) -> Machine:
        region, instance = self._found(machine_id)
        return self._machine(instance, region)

    def list(self) -> list[Machine]:
        return [
            machine
            for region, api in self.regions.items()
            for instance in api.tagged(NAME_TAG)
            if (machine := self._machine(instance, region)).status != "TERMINATED"
        ]

    def start(self, machine_id: str) -> Machine:
        self.api_of(machine_id).start(machine_id)
        return self.get(machine_id)

    def stop(self, machine_id: str) -> Machine:
        self.api_of(machine_id).stop(machine_id)
        return self.get(machine_id)

    def restart(self, machine_id: str) -> Machine:
        self.api_of(machine_id).reboot(machine_id)
        return self.get(machine_id)

    def terminate(self, machine_id: str) -> None:
        try:
            api = self.api_of(machine_id)
        except NotFound:
            return
        api.terminate(machine_id)

    def logs(
        self,
        machine_id: str,
        *,
        source: str | None,
        tail: int,
        quiet_s: float | None = None,
        since: str | None = None,
        after: str | None = None,
    ) -> Iterator[LogLine]:
        """The serial console, which is all that EC2 itself tells; it has no times, and no tail to
        follow."""
        del quiet_s, since, after
        if source == "container":
            return
        lines = self.api_of(machine_id).console(machine_id).splitlines()
        for number, text in list(enumerate(lines))[-tail:]:
            yield LogLine(id=str(number), source="system", ts="", text=text)

    def volume_data_center(self, volume_id: str) -> str:
        raise UsageError(f"{volume_id}: EC2 instances have no network volumes here")

    def ends_at_shutdown(self, machine_id: str) -> bool:
        """Whether EC2 would terminate it when it powers off, read now."""
        return self.api_of(machine_id).ends_at_shutdown(machine_id)

    def console(self, machine_id: str) -> str:
        return self.api_of(machine_id).console(machine_id)

    def set_expiry(self, machine_id: str, expires_at: str) -> None:
        self.api_of(machine_id).tag(machine_id, {EXPIRES_TAG: expires_at})

    def api_of(self, machine_id: str) -> Ec2Rental:
        """The region the instance is in. Raises NotFound."""
        home = self._homes.get(machine_id) or self._found(machine_id)[0]
        return self.regions[home]

    def _found(self, machine_id: str) -> tuple[str, Json]:
        """Raises NotFound only when every region says so."""
        home = self._homes.get(machine_id)
        for region in [home] if home else self.regions:
            try:
                instance = self.regions[region].instance(machine_id)
            except NotFound:
                continue
            self._homes[machine_id] = region
            return region, instance
        raise NotFound(f"EC2 knows no instance {machine_id} in {', '.join(self.regions)}")

    def _machine(self, instance: Json, region: str) -> Machine:
        api = self.regions[region]
        self._homes[str(instance["InstanceId"])] = region
        return machine_of(instance, region, self._user, trusts_port=api.is_loopback)

    def _order(self) -> Launch:
        if self._launch is None:
            raise UsageError("instances are rented by their own command", hint="gpuctl ec2 launch")
        return self._launch


def machine_of(instance: Json, region: str, user: str, *, trusts_port: bool) -> Machine:
    """An instance as a Machine, with an address only while it runs."""
    tags = {str(tag["Key"]): str(tag["Value"]) for tag in instance.get("Tags", ())}
    kind = str(instance.get("InstanceType"))
    status = _STATUS.get(str(instance["State"]["Name"]), "UNKNOWN")
    launched = instance.get("LaunchTime")
    started = launched.isoformat() if launched else None
    host, port = instance.get("PublicIpAddress"), 22
    if trusts_port:
        port = int(tags.get(SSH_PORT_TAG, port))
    is_billed = status in ("PROVISIONING", "RUNNING")
    return Machine(
        id=str(instance["InstanceId"]),
        name=tags.get(NAME_TAG) or tags.get("Name", ""),
        provider=NAME,
        status=status,
        address=Address(str(host), port, user) if host and status == "RUNNING" else None,
        workload=tags.get(WORKLOAD_TAG),
        gpu=gpu_of(kind)[0],
        gpu_count=1,
        price_usd_h=INSTANCE_USD_H.get(kind) if is_billed else 0.0,
        image=tags.get(IMAGE_TAG),
        data_center=str((instance.get("Placement") or {}).get("AvailabilityZone") or region),
        started_at=started,
        created_at=started,
    )


def gpu_of(kind: str) -> tuple[str, int]:
    """The GPU of an instance type and its memory in GB; a type that is not known passes as it is,
    for EC2 to judge."""
    return GPUS.get(kind.partition(".")[0], (kind, 1 << 20))


def region_of(place: str) -> str:
    """us-east-1 for us-east-1a, and for itself."""
    return re.sub(r"(?<=\d)[a-z]$", "", place)
