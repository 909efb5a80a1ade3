"""One pod as it is remembered, and as RunPod's v2 would show it."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field

from gpuctl.models import Json
from gpuctl.sim import catalog, clock

ACTIONS: dict[str, tuple[str, ...]] = {
    "PROVISIONING": ("stop", "terminate"),
    "STARTING": ("stop", "terminate"),
    "RUNNING": ("stop", "restart", "terminate"),
    "EXITED": ("start", "terminate"),
    "ERROR": ("start", "terminate"),
    "TERMINATED": (),
}


@dataclass(slots=True)
class Pod:
    """`gpu_count` is what was ordered, `gpus_present` what the last start gave (runpod.md §13).

    `key` is the pod's own API key. `disk_gb` is the container disk. Times are RFC 3339.
    `local_ports`: where on this computer its service's ports are.
    """

    id: str
    name: str
    image: str
    key: str
    cloud: str
    created_at: str
    gpu_id: str | None = None
    gpu_count: int = 0
    gpus_present: int = 0
    cpu: Json | None = None
    price_usd_h: float = 0.0
    args: str = ""
    disk_gb: int = 20
    ports: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    registry: str | None = None
    mounts: Json = field(default_factory=dict)
    data_center: str | None = None
    cuda_version: str | None = None
    account_keys: list[str] = field(default_factory=list)
    locked: bool = False
    global_networking: bool = False
    status: str = "PROVISIONING"
    started_at: str | None = None
    ssh_port: int | None = None
    mishap: str | None = None
    local_ports: dict[int, int] = field(default_factory=dict)

    def record(self) -> Json:
        """Without what the next boot decides anew."""
        known = asdict(self)
        del known["local_ports"]
        return known

    @property
    def is_running(self) -> bool:
        return self.status == "RUNNING"

    @property
    def volume_id(self) -> str | None:
        attached = self.mounts.get("network") or [{}]
        found: str | None = attached[0].get("volumeId")
        return found

    @property
    def authorized_keys(self) -> list[str]:
        """The account's keys count only where the env has no PUBLIC_KEY (runpod.md §2.1)."""
        own = self.env.get("PUBLIC_KEY")
        return own.splitlines() if own is not None else list(self.account_keys)

    def as_json(self) -> Json:
        document: Json = {
            "id": self.id,
            "name": self.name,
            "status": self.status,
            "actions": list(ACTIONS[self.status]),
            "image": self.image,
            "args": self.args,
            "disk": self.disk_gb,
            "mounts": self.mounts,
            "ports": self.ports,
            "env": self.env,
            "registry": self.registry,
            "cloud": self.cloud,
            "dataCenterId": self.data_center,
            "cudaVersion": self.cuda_version,
            "ssh": {"proxy": None, "direct": self._direct()},
            "template": None,
            "cost": self.cost_usd_h,
            "locked": self.locked,
            "globalNetworking": {"enabled": self.global_networking},
            "runtime": self._runtime() if self.is_running else None,
            "createdAt": self.created_at,
            "startedAt": self.started_at,
        }
        if self.gpu_id is not None:
            document["gpu"] = {"id": self.gpu_id, "count": self.gpus_present}
        if self.cpu is not None:
            document["cpu"] = {**self.cpu, "memory": self.cpu["vcpuCount"] * 2}
        return document

    @property
    def cost_usd_h(self) -> float:
        """What its GPU costs now: nothing while it is stopped, and nothing without one."""
        if self.status in ("EXITED", "ERROR", "TERMINATED"):
            return 0.0
        missing = self.gpu_count > 0 and self.gpus_present == 0
        return 0.0 if missing else self.price_usd_h

    def _direct(self) -> Json | None:
        is_hidden = self.mishap == "no-address" or "22/tcp" not in self.ports
        if not self.is_running or self.ssh_port is None or is_hidden:
            return None
        command = f"ssh root@127.0.0.1 -p {self.ssh_port} -i ~/.ssh/id_ed25519"
        return {"host": "127.0.0.1", "port": self.ssh_port, "username": "root", "command": command}

    def _runtime(self) -> Json:
        started = clock.parsed(self.started_at or self.created_at)
        uptime_s = (clock.now() - started).total_seconds()
        if self.mishap == "crash-loop":  # each life ends within seconds: the count falls back
            uptime_s = uptime_s * 10 % 3
        return {
            "uptime": int(uptime_s),
            "gpus": [dict(self._gpu_use()) for _ in range(self.gpus_present)],
            "cpu": {"util": 3},
            "memory": {"util": 5},
            "ports": [self._port(index, text) for index, text in enumerate(self.ports)],
        }

    def _gpu_use(self) -> Json:
        """Idle, unless the pod's environment says how busy it plays: GPUCTL_SIM_GPU_USE=73,41."""
        said = re.fullmatch(r"(\d{1,3}),(\d{1,3})", self.env.get("GPUCTL_SIM_GPU_USE", ""))
        util, memory = (min(100, int(text)) for text in said.groups()) if said else (0, 0)
        return {"util": util, "memoryUtil": memory}

    def _port(self, index: int, text: str) -> Json:
        number, _, kind = text.partition("/")
        if text == "22/tcp":
            public = None if self.mishap == "no-address" else self.ssh_port
            return {"private": 22, "public": public, "type": "tcp", "ip": "127.0.0.1"}
        here = self.local_ports.get(int(number))
        if here is not None:
            return {"private": int(number), "public": here, "type": kind, "ip": "127.0.0.1"}
        # HTTP ports sit behind the proxy, at a carrier-NAT address (runpod.md §2.2).
        ip = "100.65.0.7" if kind == "http" else None
        outside = 60000 + index if kind == "http" else None
        return {"private": int(number), "public": outside, "type": kind, "ip": ip}


def place(body: Json, pinned: str | None) -> tuple[str | None, float]:
    """Where a create would land, and its price in USD an hour. LookupError = no capacity.

    `pinned` is the data centre of the network volume, if there is one.
    """
    if "cpu" in body:
        return pinned or "EU-RO-1", round(0.03 * body["cpu"]["vcpuCount"], 2)
    wanted = frozenset(body["dataCenterIds"]) if body.get("dataCenterIds") else None
    if pinned is not None:
        wanted = frozenset({pinned}) & (wanted or frozenset({pinned}))
    gpu, cloud = catalog.GPU_BY_ID[body["gpu"]["id"]], body.get("cloud", "SECURE")
    count = body["gpu"].get("count", 1)
    if catalog.availability(gpu, cloud, count, wanted) == "NONE":
        raise LookupError
    found = [dc for dc, level in catalog.places(gpu, cloud, wanted) if level != "NONE"]
    price = round(catalog.price_usd_h(gpu, cloud) * count, 4)
    return (found[0] if found else None), price
