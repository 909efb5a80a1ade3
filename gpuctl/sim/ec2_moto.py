"""moto, told what it does not know by itself: the machine image, quotas, consoles, boots, ends.

What is patched is what feasibility.md §2 found untrue in moto 5.2: a repeated ClientToken, states
between two answers, quotas and consoles. Everything else is moto's own.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from gpuctl.sim import ec2_faults

ACCOUNT = "123456789012"
PORT_TAG = "gpuctl:sim-ssh-port"
# moto reads these when it is imported: wrong images, types and keys are refused as on EC2.
FLAGS = {
    "MOTO_ENABLE_AMI_VALIDATION": "1",
    "MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION": "1",
    "MOTO_ENABLE_KEYPAIR_VALIDATION": "1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
PUBLIC_IMAGES = "/aws/service/deeplearning/ami/"
QUOTA_VCPUS = 8.0


class House(Protocol):
    """What the backend calls: where instances live."""

    def opened(self, instance: Any, public_key: str, user_data: str) -> None: ...
    def closed(self, instance_id: str) -> None: ...
    def started(self, instance: Any) -> None: ...
    def console(self, instance_id: str) -> str: ...


def import_moto() -> Any:
    """The threaded server's class. Raises ModuleNotFoundError without the extra `sim`."""
    os.environ.update(FLAGS)
    from moto.server import ThreadedMotoServer  # noqa: PLC0415  0.5 s, and an optional extra

    return ThreadedMotoServer


def patch(house: House, folder: Path) -> None:
    """Once in a process, before the first request."""
    from moto.ec2.models.elastic_block_store import VolumeAttachment  # noqa: PLC0415
    from moto.ec2.models.instances import InstanceBackend  # noqa: PLC0415  see import_moto
    from moto.ec2.responses.general import General  # noqa: PLC0415
    from moto.servicequotas.models import ServiceQuotasBackend  # noqa: PLC0415
    from moto.ssm.models import SimpleSystemManagerBackend  # noqa: PLC0415

    backend: Any = InstanceBackend
    backend.run_instances = _run(backend.run_instances, house, folder)
    backend.terminate_instances = _ended(backend.terminate_instances, house, folder)
    backend.stop_instances = _ended(backend.stop_instances, house, folder)
    backend.start_instances = _started(backend.start_instances, house)
    quotas: Any = ServiceQuotasBackend
    quotas.get_service_quota = _quota(quotas.get_service_quota, folder)
    systems: Any = SimpleSystemManagerBackend
    systems.get_parameter = _parameter(systems.get_parameter)
    attachment: Any = VolumeAttachment
    attachment.delete_on_termination = property(_ends_with_its_instance)
    general: Any = General
    general.get_console_output = _console(house)


def _run(real: Callable[..., Any], house: House, folder: Path) -> Callable[..., Any]:
    def run_instances(
        self: Any, image_id: str, count: int, user_data: Any, groups: Any, **kwargs: Any
    ) -> Any:
        token, kind = kwargs.get("client_token"), kwargs.get("instance_type")
        for reservation in self.reservations.values():
            if token and any(each.client_token == token for each in reservation.instances):
                return reservation
        place = f"{kind} {kwargs.get('placement') or kwargs.get('region_name')}"
        _refuse(folder, place)
        reservation = real(self, image_id, count, user_data, groups, **kwargs)
        keys = self.describe_key_pairs(key_names=[kwargs["key_name"]])
        script = base64.b64decode(str(user_data)).decode() if user_data else ""
        for instance in reservation.instances:
            instance._state.name, instance._state.code = "pending", 0
            house.opened(instance, _line(keys[0].material_public), script)
        time.sleep(float(ec2_faults.take(folder, "ec2-slow-run") or 0))
        if ec2_faults.take(folder, "ec2-run-500") is not None:
            raise RuntimeError("played: the instance is there, and the answer is a 500")
        return reservation

    return run_instances


def _line(public: Any) -> str:
    return public.decode() if isinstance(public, bytes) else str(public)


def _refuse(folder: Path, place: str) -> None:
    if ec2_faults.take(folder, "ec2-no-capacity", place) is not None:
        raise _error(
            "InsufficientInstanceCapacity",
            f"We currently do not have sufficient capacity for {place}",
        )


def _ended(real: Callable[..., Any], house: House, folder: Path) -> Callable[..., Any]:
    def end(self: Any, instance_ids: list[str]) -> Any:
        if ec2_faults.take(folder, "ec2-terminate-ignored") is not None:
            found = self.get_multi_instances_by_id(instance_ids)
            return [(instance, instance._state) for instance in found]
        answer = real(self, instance_ids)
        for instance_id in instance_ids:
            house.closed(instance_id)
        return answer

    return end


def _started(real: Callable[..., Any], house: House) -> Callable[..., Any]:
    def start(self: Any, instance_ids: list[str]) -> Any:
        answer = real(self, instance_ids)
        for instance in self.get_multi_instances_by_id(instance_ids):
            house.started(instance)
        return answer

    return start


def _quota(real: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    def get_service_quota(self: Any, service_code: str, quota_code: str) -> Any:
        if service_code != "ec2":
            return real(self, service_code, quota_code)
        said = ec2_faults.take(folder, "ec2-quota")
        value = QUOTA_VCPUS if said is None else float(said or 0)
        return {"ServiceCode": "ec2", "QuotaCode": quota_code, "Value": value, "Adjustable": True}

    return get_service_quota


def _parameter(real: Callable[..., Any]) -> Callable[..., Any]:
    """AWS publishes the ids of its machine images; here it is one that moto knows."""

    def get_parameter(self: Any, name: str) -> Any:
        is_image = name.startswith(PUBLIC_IMAGES) and name.endswith("/latest/ami-id")
        if not is_image or "ubuntu" not in name:
            return real(self, name)
        from moto.ec2.models import ec2_backends  # noqa: PLC0415  see import_moto
        from moto.ssm import models  # noqa: PLC0415

        kind: Any = models.Parameter
        images = ec2_backends[ACCOUNT][self.region_name].describe_images()
        linux = [each for each in images if each.platform is None]
        return kind(
            ACCOUNT,
            name,
            str((linux or images)[0].id),
            "String",
            None,
            None,
            None,
            datetime(2026, 11, 1, tzinfo=UTC),
            1,
            "aws:ec2:image",
        )

    return get_parameter


def _ends_with_its_instance(attachment: Any) -> bool:
    """describe-volumes tells it on AWS; moto keeps it with the instance alone."""
    device = attachment.instance.block_device_mapping.get(attachment.device)
    return bool(device and device.delete_on_termination)


def _console(house: House) -> Callable[..., Any]:
    from moto.core.responses import ActionResult  # noqa: PLC0415  see import_moto
    from moto.core.types import Base64EncodedString  # noqa: PLC0415

    def get_console_output(self: Any) -> Any:
        instance = self.ec2_backend.get_instance(self._get_param("InstanceId"))
        text = house.console(instance.id)
        result = {
            "InstanceId": instance.id,
            "Timestamp": datetime.now(UTC),
            "Output": Base64EncodedString.from_raw_string(text),
        }
        return ActionResult(result)

    return get_console_output


def _error(code: str, message: str) -> Exception:
    from moto.ec2.exceptions import EC2ClientError  # noqa: PLC0415  see import_moto

    error: Exception = EC2ClientError(code, message)
    return error
