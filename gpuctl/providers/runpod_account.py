"""A RunPod account beyond its machines: what it holds, what it was billed, where there is what."""

from __future__ import annotations

from typing import Any, cast

from gpuctl import holdings
from gpuctl.clients.runpod_api import RunpodApi
from gpuctl.errors import NotFound
from gpuctl.holdings import Bill, DataCenter, Holding, PastOrder, Volume, VolumeOrder
from gpuctl.models import Json, MachineRequest, Need

NAME = "runpod"
STOPPED = ("EXITED", "ERROR", "TERMINATED")
# Kind → the word in the path and the name of the id in a record (runpod.md §6).
_BILLS = {
    "pod": ("pods", "podId"),
    "endpoint": ("serverless", "serverlessId"),
    "volume": ("network-volumes", "networkVolumeId"),
}


class RunpodAccount:
    """Reads are calls of REST v2; errors are those of clients/http.py."""

    name = NAME

    def __init__(self, api: RunpodApi) -> None:
        self.api = api

    # what it holds

    def pods(self) -> list[Holding]:
        return [_pod(pod) for pod in self.api.list_pods()]

    def endpoints(self) -> list[Holding]:
        """Priced by the workers they have now, at least those that always run, each at the dearest
        card it may get."""
        listed = self.api.list_endpoints()
        present = {str(each["id"]): self._billed_workers(each) for each in listed}
        prices = self.api.list_prices() if any(present.values()) else []
        return [_endpoint(each, present[str(each["id"])], prices) for each in listed]

    def _billed_workers(self, endpoint: Json) -> int:
        """Every worker bills but one that waits for a GPU; one that crashes does too (§3.3)."""
        least = _min_workers(endpoint)
        try:
            summary = _table(self.api.endpoint_workers(str(endpoint["id"])).get("summary"))
        except NotFound:  # deleted meanwhile
            return least
        total, throttled = int(summary.get("total") or 0), int(summary.get("throttled") or 0)
        return max(least, total - throttled)

    def volumes(self) -> list[Volume]:
        """With the pods that mount each."""
        users: dict[str, list[str]] = {}
        for pod in self.api.list_pods():
            for mount in _table(pod.get("mounts")).get("network") or ():
                users.setdefault(str(mount.get("volumeId")), []).append(str(pod.get("name")))
        return [_volume(volume, users) for volume in self.api.network_volumes()]

    def past_order(self, pod_id: str) -> PastOrder:
        """What the pod was rented as. Raises NotFound when it is gone."""
        return _past_order(self.api.get_pod(pod_id))

    def unlock(self, pod_id: str) -> None:
        """A locked pod is neither stopped nor reset; whoever locked it meant that (§2.3)."""
        self.api.patch_pod(pod_id, {"locked": False})

    # what it was billed

    def bills(self, kind: str, *, start: str, bucket: str) -> list[Bill]:
        """`kind` is pod, endpoint or volume; `bucket` hour or day; newest data lags (§6)."""
        word, key = _BILLS[kind]
        return [
            Bill(
                kind=kind,
                id=str(record.get(key, "")),
                began=str(record.get("startTime", "")),
                ended=str(record.get("endTime", "")),
                usd=float(record.get("totalAmount") or 0.0),
            )
            for record in self.api.bills(word, start=start, bucket=bucket)
        ]

    def data_centers(self) -> list[DataCenter]:
        return [_data_center(center) for center in self.api.data_centers()]

    # volumes

    def create_volume(self, order: VolumeOrder) -> Volume:
        """Starts billing."""
        body = order_body(order)
        return _volume(self.api.create_volume(body), {})

    def resize_volume(self, volume_id: str, size_gb: int) -> Volume:
        return _volume(self.api.patch_volume(volume_id, {"size": size_gb}), {})

    def delete_volume(self, volume_id: str) -> None:
        """One that is gone already is success."""
        try:
            self.api.delete_volume(volume_id)
        except NotFound:
            return

    # endpoints

    def stop_endpoint(self, endpoint_id: str) -> None:
        """No workers any more: nothing is billed, and nothing is lost (§3.1)."""
        self.api.patch_endpoint(endpoint_id, {"workers": {"min": 0, "max": 0}})

    def delete_endpoint(self, endpoint_id: str) -> None:
        """One that is gone already is success."""
        try:
            self.api.delete_endpoint(endpoint_id)
        except NotFound:
            return


def _pod(pod: Json) -> Holding:
    status = str(pod.get("status") or "UNKNOWN").upper()
    gpu, mounts = _table(pod.get("gpu")), _table(pod.get("mounts"))
    volume_gb = int(_table(mounts.get("persistent")).get("size") or 0)
    disk_gb, cost = int(pod.get("disk") or 0), pod.get("cost")
    is_stopped = status in STOPPED
    storage = holdings.pod_storage_usd_h(
        disk_gb=disk_gb, volume_gb=volume_gb, is_stopped=is_stopped
    )
    name = str(pod.get("name") or "")
    disks = f"{volume_gb} GB volume" if is_stopped else f"{disk_gb + volume_gb} GB disk"
    return Holding(
        provider=NAME,
        kind="pod",
        id=str(pod["id"]),
        name=name,
        status=status,
        detail=", ".join(filter(None, (_cards(gpu), disks))),
        usd_h=float(cost) + storage if isinstance(cost, int | float) else None,
        is_running=not is_stopped,
        place=pod.get("dataCenterId"),
        workload=_workload_of(name),
        created_at=pod.get("createdAt"),
    )


def _cards(gpu: Json) -> str:
    if not gpu.get("id"):
        return ""
    count = gpu.get("count", 1)
    return str(gpu["id"]) if count == 1 else f"{count} × {gpu['id']}"


def _endpoint(endpoint: Json, present: int, prices: list[Json]) -> Holding:
    workers, gpu = _table(endpoint.get("workers")), _table(endpoint.get("gpu"))
    least, name = _min_workers(endpoint), str(endpoint.get("name") or "")
    each = _worker_usd_h(gpu, prices)
    price = 0.0 if present == 0 else (None if each is None else present * each)
    pools = ", ".join(map(str, gpu.get("pools") or ["CPU"]))
    return Holding(
        provider=NAME,
        kind="endpoint",
        id=str(endpoint["id"]),
        name=name,
        status=f"{least}–{workers.get('max', '?')} workers",
        detail=f"{pools}; {present} now, {least} always on",
        usd_h=price,
        is_running=present > 0,
        workload=_workload_of(name),
        created_at=endpoint.get("createdAt"),
    )


def _worker_usd_h(gpu: Json, prices: list[Json]) -> float | None:
    """The dearest card a worker may get: what an always-on worker may cost in an hour."""
    pools, excluded = gpu.get("pools") or [], gpu.get("excludedTypes") or []
    found = [
        float(_table(card.get("price")).get("serverless") or 0.0)
        for card in prices
        if card.get("pool") in pools and card.get("id") not in excluded
    ]
    return max(found) * int(gpu.get("count") or 1) if any(found) else None


def _min_workers(endpoint: Json) -> int:
    return int(_table(endpoint.get("workers")).get("min") or 0)


def _volume(volume: Json, users: dict[str, list[str]]) -> Volume:
    volume_id = str(volume["id"])
    return Volume(
        id=volume_id,
        name=str(volume.get("name") or ""),
        size_gb=int(volume.get("size") or 0),
        data_center=str(volume.get("dataCenter") or ""),
        tier=str(volume.get("type") or "STANDARD"),
        attached_to=tuple(users.get(volume_id, ())),
    )


def volume_holding(volume: Volume) -> Holding:
    month = volume.usd_month
    return Holding(
        provider=NAME,
        kind="volume",
        id=volume.id,
        name=volume.name,
        status="ATTACHED" if volume.attached_to else "DETACHED",
        detail=f"{volume.size_gb} GB {volume.tier.lower().replace('_', ' ')}",
        usd_h=None if month is None else month / holdings.HOURS_A_MONTH,
        is_running=False,
        place=volume.data_center,
        attached_to=volume.attached_to,
    )


def order_body(order: VolumeOrder) -> Json:
    """The tier is always said: without it, a place gives its own, at its own price (§7.1)."""
    return {
        "name": order.name,
        "size": order.size_gb,
        "dataCenter": order.data_center,
        "type": order.tier,
    }


def _data_center(center: Json) -> DataCenter:
    stock = [
        (str(gpu.get("name") or gpu.get("id")), str(gpu.get("availability") or "NONE"))
        for gpu in center.get("gpuAvailability") or ()
    ]
    return DataCenter(
        id=str(center.get("id")),
        region=str(center.get("region") or ""),
        volume_tiers=tuple(
            sorted(map(str, center.get("networkVolumeTypes") or ()), key=_standard_first)
        ),
        stock=tuple((name, level) for name, level in stock if level != "NONE"),
    )


def _standard_first(tier: str) -> tuple[bool, str]:
    return (tier != holdings.STANDARD, tier)


def _past_order(pod: Json) -> PastOrder:
    gpu, mounts = _table(pod.get("gpu")), _table(pod.get("mounts"))
    attached = (mounts.get("network") or [{}])[0]
    own = _table(mounts.get("persistent"))
    env = {str(name): str(value) for name, value in _table(pod.get("env")).items()}
    key, name = env.pop("PUBLIC_KEY", None), str(pod.get("name") or "")
    need = Need(
        image=str(pod.get("image") or ""),
        vram_gb=0,
        disk_gb=int(pod.get("disk") or 20),
        volume_gb=int(own.get("size") or 0),
        ports=tuple(map(str, pod.get("ports") or ("22/tcp",))),
    )
    request = MachineRequest(
        name=name,
        workload=_workload_of(name) or "",
        need=need,
        env=env,
        volume_id=attached.get("volumeId"),
        public_key=key,
    )
    gpu_id = gpu.get("id")
    cloud = str(pod.get("cloud") or "SECURE").lower()
    return PastOrder(request, gpu_id, int(gpu.get("count") or 1) or 1, cloud, bool(own))


def _workload_of(name: str) -> str | None:
    """gpuctl-<workload>-<ulid> is how everything rented here is called."""
    parts = name.split("-")
    return parts[1] if len(parts) == 3 and parts[0] == "gpuctl" else None


def _table(value: Any) -> Json:
    return cast(Json, value) if isinstance(value, dict) else {}
