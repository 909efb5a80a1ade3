"""A simulated AWS of a test's own: moto over HTTP, with instances that are real SSH machines."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gpuctl.clients.aws_sts import AwsAccess
from gpuctl.clients.ec2_rental import Ec2Rental
from gpuctl.models import Json, Need, Secret
from gpuctl.sim import ec2_faults, ec2_launcher, launcher, processes

REGION = "us-east-1"
NEED = Need(image="somebody/whisper:1", vram_gb=8, disk_gb=60, volume_gb=0)
DLAMI = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id"


@dataclass
class MotoAws:
    """`folder` is the simulator's; `key` a private key whose public half lies beside it."""

    folder: Path
    access: AwsAccess
    key: Path
    apis: dict[str, Ec2Rental] = field(default_factory=dict)

    def api(self, region: str = REGION) -> Ec2Rental:
        return self.apis.setdefault(region, Ec2Rental(self.access, region, 20.0))

    def fault(self, kind: str, value: str | None = None, times: int | None = None) -> None:
        ec2_faults.add(self.folder, kind, value, times)

    def running(self, region: str = REGION) -> list[Json]:
        """What bills there now."""
        return [each for each in self.api(region).instances()]

    def clear(self) -> None:
        """Ends every instance and forgets every fault."""
        ec2_faults.clear(self.folder)
        for region, api in self.apis.items():
            for instance in self.running(region):
                api.terminate(str(instance["InstanceId"]))


@contextmanager
def moto_aws(folder: Path, **settings: str) -> Iterator[MotoAws]:
    """Boots take 50 ms. Ends with no process left."""
    own = {"boot_s": "0.05", "GPUCTL_SIM_REGISTRY": "http://127.0.0.1:9", **settings}
    try:
        found = ec2_launcher.ensure(folder, own)
        key = folder / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        access = AwsAccess(
            region=REGION,
            access_key_id="AKIATEST",
            secret_access_key=Secret("secret"),
            endpoint_url=found.url,
        )
        yield MotoAws(folder, access, key)
    finally:
        launcher.stop(folder)
        left = processes.with_marker(processes.FOLDER_MARKER, str(folder.resolve()))
        assert left == [], f"processes were left behind: {left}"
