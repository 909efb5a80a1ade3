"""RunPod pods as machines: what is on the wire, turned into gpuctl's words and back."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

from gpuctl.clients.http import Http, is_loopback
from gpuctl.clients.runpod_api import RunpodApi
from gpuctl.errors import ApiError, NoCapacity, NotFound
from gpuctl.models import Address, Json, Machine, MachineRequest, Need, Offer, Secret
from gpuctl.providers import runpod_telemetry as telemetry
from gpuctl.providers.base import LogLine

NAME = "runpod"
WORKSPACE = "/workspace"
CLOUDS = {"secure": ("SECURE",), "community": ("COMMUNITY",), "any": ("SECURE", "COMMUNITY")}

# Capacity has no code of its own: 400 with one of these in `detail` (facts: runpod.md §13).
_CAPACITY = (
    "no longer any instances available",
    "no instances available",
    "no instances currently available",
    "not enough",  # also: "not enough free GPUs on the host machine" when one is started
    "does not have the resources",
    "no available",
)
_STRONGEST_FIRST = ("HIGH", "MEDIUM", "LOW")


def connect(
    *, api_url: str, api_key: Secret | None, timeout_s: float, sleep: Callable[[float], object]
) -> RunpodProvider:
    """Opens nothing yet. A missing key raises CredentialsError at the first call."""
    return RunpodProvider(RunpodApi(Http(api_url, key=api_key, timeout_s=timeout_s, sleep=sleep)))


class RunpodProvider:
    """The Provider protocol over REST v2."""

    name = NAME

    def __init__(self, api: RunpodApi) -> None:
        self.api = api

    def close(self) -> None:
        self.api.http.close()

    def offers(self, need: Need, *, cloud: str, gpu_count: int) -> list[Offer]:
        """What the catalogue lists for the CUDA that `need` wants, of any size, in stock or not.

        `cloud` is secure, community or any. List prices; the billed rate is the machine's.
        """
        found: list[Offer] = []
        for tier in CLOUDS[cloud]:
            listed = self.api.gpus(cloud=tier, count=gpu_count, min_cuda=need.min_cuda)
            found += [offer for gpu in listed if (offer := _offer(gpu, tier, gpu_count))]
        return found

    def body(self, request: MachineRequest, offer: Offer) -> Json:
        """The create body, in full: v2 refuses unknown fields and has few defaults (§2.1)."""
        gpu: Json = {"id": offer.gpu_id, "count": offer.gpu_count}
        if request.need.min_cuda:
            gpu["minCudaVersion"] = request.need.min_cuda
        env = dict(request.env)
        if request.public_key:
            env["PUBLIC_KEY"] = request.public_key
        body: Json = {
            "name": request.name,
            "image": request.need.image,
            "cloud": offer.cloud,
            "gpu": gpu,
            "disk": request.need.disk_gb,
            "mounts": _mounts(request),
            "env": env,
            "ports": list(dict.fromkeys((*request.need.ports, "22/tcp"))),
            "startSsh": True,
        }
        if request.data_centers:
            body["dataCenterIds"] = list(request.data_centers)
        return body

    def create(self, request: MachineRequest, offer: Offer) -> Machine:
        with _capacity_named(f"{offer.gpu_name} ({offer.cloud.lower()})"):
            return self._machine(self.api.create_pod(self.body(request, offer)))

    def get(self, machine_id: str) -> Machine:
        return self._machine(self.api.get_pod(machine_id))

    def list(self) -> list[Machine]:
        return [self._machine(pod) for pod in self.api.list_pods()]

    def start(self, machine_id: str) -> Machine:
        """Raises NoCapacity when the GPU of that host was taken meanwhile."""
        with _capacity_named(f"the host of {machine_id}"):
            return self._machine(self.api.act(machine_id, "start"))

    def stop(self, machine_id: str) -> Machine:
        return self._machine(self.api.act(machine_id, "stop"))

    def restart(self, machine_id: str) -> Machine:
        """Raises NoCapacity like `start`."""
        with _capacity_named(f"the host of {machine_id}"):
            return self._machine(self.api.act(machine_id, "restart"))

    def terminate(self, machine_id: str) -> None:
        try:
            self.api.delete_pod(machine_id)
        except NotFound:
            return

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
        for line in self.api.pod_logs(
            machine_id,
            source=source,
            tail=tail,
            quiet_s=quiet_s,
            since=since,
            last_event_id=after,
        ):
            yield LogLine(
                id=str(line.get("id", "")),
                source=str(line.get("source", "")),
                ts=str(line.get("ts", "")),
                text=str(line.get("line", "")),
            )

    def volume_data_center(self, volume_id: str) -> str:
        return str(self.api.network_volume(volume_id).get("dataCenter", ""))

    def _machine(self, pod: Json) -> Machine:
        return machine_of(pod, trusts_loopback=self.api.http.is_loopback)


def machine_of(pod: Json, *, trusts_loopback: bool) -> Machine:
    """A pod object as a Machine, with an address only while it is RUNNING (§2.2)."""
    gpu = _table(pod.get("gpu"))
    name, status = str(pod.get("name") or ""), str(pod.get("status") or "UNKNOWN").upper()
    cost = pod.get("cost")
    runtime = _table(pod.get("runtime")) if status == "RUNNING" else {}
    return Machine(
        id=str(pod["id"]),
        name=name,
        provider=NAME,
        status=status,
        address=_address(pod, trusts_loopback) if status == "RUNNING" else None,
        workload=_workload_of(name),
        gpu=gpu.get("id"),
        # A start on a full host may come back with no GPU at all (§13): 0, not 1.
        gpu_count=int(gpu.get("count", 1)) if gpu else 0,
        price_usd_h=float(cost) if isinstance(cost, int | float) else None,
        image=pod.get("image"),
        data_center=pod.get("dataCenterId"),
        started_at=pod.get("startedAt"),
        created_at=pod.get("createdAt"),
        urls=telemetry.urls(pod, runtime) if status == "RUNNING" else (),
        gpu_util_percent=telemetry.mean_percent(runtime, "util"),
        gpu_memory_percent=telemetry.mean_percent(runtime, "memoryUtil"),
        uptime_s=telemetry.number(runtime.get("uptime")),
    )


def _offer(gpu: Json, tier: str, gpu_count: int) -> Offer | None:
    """None when the type is not offered in that tier, or not so many cards at once."""
    key = tier.lower()
    price = _table(gpu.get("price")).get(key) or 0
    most = _table(gpu.get("maxCount")).get(key, gpu_count)
    is_offered = gpu.get(key) is not False and price > 0 and most >= gpu_count
    if not is_offered or gpu.get("manufacturer", "NVIDIA") != "NVIDIA":
        return None
    centers = [_table(center) for center in gpu.get("dataCenters") or ()]
    in_stock = sorted(
        (center for center in centers if center.get("availability") in _STRONGEST_FIRST),
        key=lambda center: _STRONGEST_FIRST.index(center["availability"]),
    )
    return Offer(
        provider=NAME,
        gpu_id=str(gpu.get("id")),
        gpu_name=str(gpu.get("name") or gpu.get("id")),
        cloud=tier,
        price_usd_h=round(float(price) * gpu_count, 4),
        vram_gb=int(gpu.get("memory") or 0),
        gpu_count=gpu_count,
        stock=str(gpu.get("availability") or "UNKNOWN"),
        data_centers=tuple(str(center.get("id")) for center in in_stock),
    )


def _mounts(request: MachineRequest) -> Json:
    if request.volume_id:
        return {"network": [{"volumeId": request.volume_id, "path": WORKSPACE}]}
    return {"persistent": {"size": max(10, request.need.volume_gb), "path": WORKSPACE}}


def _address(pod: Json, trusts_loopback: bool) -> Address | None:
    direct = _table(_table(pod.get("ssh")).get("direct"))
    if direct.get("port") and _is_reachable(direct.get("host"), trusts_loopback):
        return Address(direct["host"], int(direct["port"]), str(direct.get("username") or "root"))
    for port in _table(pod.get("runtime")).get("ports") or ():
        mapping = _table(port)
        is_ssh = mapping.get("private") == 22 and mapping.get("type") == "tcp"
        if is_ssh and mapping.get("public") and _is_reachable(mapping.get("ip"), trusts_loopback):
            return Address(mapping["ip"], int(mapping["public"]))
    return None


def _is_reachable(host: Any, trusts_loopback: bool) -> bool:
    """Carrier-NAT, private and link-local addresses are shown for pods nobody can dial."""
    if not isinstance(host, str) or not host:
        return False
    if is_loopback(host):
        return trusts_loopback
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return True  # a name


def _workload_of(name: str) -> str | None:
    """gpuctl-<workload>-<ulid> is how everything rented here is called."""
    parts = name.split("-")
    return parts[1] if len(parts) == 3 and parts[0] == "gpuctl" else None


def _table(value: Any) -> Json:
    """`value` where it is an object, else an empty one: absent, null and partial are all usual."""
    return cast(Json, value) if isinstance(value, dict) else {}


@contextmanager
def _capacity_named(what: str) -> Iterator[None]:
    try:
        yield
    except ApiError as error:
        said = str(error.details.get("detail", "")).lower()
        is_refusal = error.status is not None and 400 <= error.status < 500
        if is_refusal and error.status != 429 and any(text in said for text in _CAPACITY):
            raise NoCapacity(f"{what}: {error.details['detail']}", details=error.details) from error
        raise
