"""The fleet: every pod of the simulator, and what the API may do with them."""

from __future__ import annotations

import secrets
import shutil
import string
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from gpuctl.models import Json
from gpuctl.sim import catalog, clock, ledger
from gpuctl.sim.box import Box
from gpuctl.sim.logs import PodLog
from gpuctl.sim.pod import ACTIONS, Pod, place
from gpuctl.sim.problems import HOST_FULL, NO_CAPACITY, Problem, not_found
from gpuctl.sim.runtime import Runtime, Surroundings
from gpuctl.sim.volumes import Volumes

ID_LETTERS = string.ascii_lowercase + string.digits
# Changing one of these recreates the container of a running pod (runpod.md §2.3).
RECREATING = frozenset({"image", "args", "disk", "env", "ports", "registry", "mounts"})


def new_id(letters: int = 14) -> str:
    return "".join(secrets.choice(ID_LETTERS) for _ in range(letters))


class Pods:
    def __init__(self, records: Iterable[Json], shared: Surroundings, volumes: Volumes) -> None:
        self._shared = shared
        self._volumes = volumes
        self._lock = threading.RLock()
        self._runtimes: dict[str, Runtime] = {}
        volumes.is_attached = self._is_attached
        for record in records:
            self._adopt(Pod(**record))

    def resume(self) -> None:
        """After a restart of the simulator: what ran, runs again, at a new address."""
        with self._lock:
            for runtime in self._runtimes.values():
                if ACTIONS[runtime.pod.status] and runtime.pod.status not in ("EXITED", "ERROR"):
                    runtime.halt()
                    runtime.boot()

    def close(self) -> None:
        """Ends every pod's processes; the pods themselves are remembered as they are."""
        with self._lock:
            for runtime in self._runtimes.values():
                status = runtime.pod.status
                runtime.halt()
                runtime.pod.status = status

    def records(self) -> list[Json]:
        with self._lock:
            return [runtime.pod.record() for runtime in self._runtimes.values()]

    def all(self) -> list[Json]:
        with self._lock:
            return [runtime.pod.as_json() for runtime in self._runtimes.values()]

    def get(self, pod_id: str) -> Json:
        with self._lock:
            return self._runtime(pod_id).pod.as_json()

    def log(self, pod_id: str) -> PodLog:
        with self._lock:
            return self._runtime(pod_id).log

    def rates(self) -> dict[str, ledger.Rates]:
        """What each pod is billed now."""
        with self._lock:
            pods = [runtime.pod for runtime in self._runtimes.values()]
            return {pod.id: ledger.pod_rates(pod.record(), pod.cost_usd_h) for pod in pods}

    def is_key_of(self, key: str, pod_id: str) -> bool:
        with self._lock:
            runtime = self._runtimes.get(pod_id)
            return runtime is not None and secrets.compare_digest(runtime.pod.key, key)

    def running_count(self) -> int:
        with self._lock:
            return sum(ACTIONS[r.pod.status][:1] == ("stop",) for r in self._runtimes.values())

    def create(self, body: Json, account_keys: list[str]) -> Json:
        """`body` is checked already. Raises Problem 400 for capacity and business rules."""
        with self._lock:
            pod = self._ordered(body, account_keys)
            runtime = self._adopt(pod)
            runtime.boot()
        self._shared.on_change()
        return pod.as_json()

    def update(self, pod_id: str, body: Json) -> Json:
        """`body` is checked already. Raises Problem 400 when the kind of mount would change."""
        with self._lock:
            runtime = self._runtime(pod_id)
            _apply(runtime.pod, body)
            if runtime.pod.is_running and RECREATING & body.keys():
                runtime.halt()
                runtime.boot()
        self._shared.on_change()
        return runtime.pod.as_json()

    def act(self, pod_id: str, action: str) -> Json | None:
        """The pod afterwards; None when it is terminated. Raises Problem 404, 409."""
        with self._lock:
            runtime = self._runtime(pod_id)
            pod = runtime.pod
            if action not in ACTIONS[pod.status]:
                raise Problem(409, f"cannot {action} a pod that is {pod.status}")
            if action == "stop" and pod.locked:
                raise Problem(409, "pod is locked")
            if action == "terminate" and self._shared.faults.take("delete-ignored") is not None:
                return None
            if action in ("start", "restart") and self._shared.faults.take("host-full"):
                raise Problem(400, HOST_FULL)
            self._verbs()[action](runtime)
        self._shared.on_change()
        return None if action == "terminate" else pod.as_json()

    def strike(self, kind: str, pod_id: str | None) -> int:
        """What happens at once to running pods (or to the one); says to how many."""
        deeds: dict[str, Callable[[Runtime], None]] = {
            "new-address": Runtime.move,
            "platform-stop": Runtime.stop,
            "vanish": self._terminate,
            "lock": _lock,
        }
        with self._lock:
            struck = [
                runtime
                for runtime in self._runtimes.values()
                if runtime.pod.is_running and pod_id in (None, runtime.pod.id)
            ]
            for runtime in struck:
                deeds[kind](runtime)
        self._shared.on_change()
        return len(struck)

    def _verbs(self) -> dict[str, Callable[[Runtime], None]]:
        return {
            "start": self._start,
            "stop": Runtime.stop,
            "restart": _restart,
            "terminate": self._terminate,
        }

    def _start(self, runtime: Runtime) -> None:
        is_gone = self._shared.faults.take("gpu-gone") is not None
        runtime.pod.gpus_present = 0 if is_gone else runtime.pod.gpu_count
        runtime.boot()

    def _terminate(self, runtime: Runtime) -> None:
        runtime.halt()
        runtime.pod.status = "TERMINATED"
        del self._runtimes[runtime.pod.id]
        shutil.rmtree(self._folder(runtime.pod.id), ignore_errors=True)

    def _ordered(self, body: Json, account_keys: list[str]) -> Pod:
        self._refuse_unplaceable(body)
        volume_id = _volume_id(body)
        pinned = self._volumes.get(volume_id)["dataCenter"] if volume_id else None
        try:
            data_center, price_usd_h = place(body, pinned)
        except LookupError:
            raise Problem(400, NO_CAPACITY) from None
        gpu = body.get("gpu", {})
        return Pod(
            id=new_id(),
            name=body["name"],
            image=body["image"],
            key=f"rpa_pod_{secrets.token_hex(16)}",
            cloud=body.get("cloud", "SECURE"),
            created_at=clock.rfc3339(clock.now()),
            gpu_id=gpu.get("id"),
            gpu_count=gpu.get("count", 1) if gpu else 0,
            gpus_present=gpu.get("count", 1) if gpu else 0,
            cpu=body.get("cpu"),
            price_usd_h=price_usd_h,
            args=body.get("args", ""),
            disk_gb=body.get("disk", 20),
            ports=body.get("ports", []),
            env=body.get("env", {}),
            registry=body.get("registry"),
            mounts=body.get("mounts", {}),
            data_center=data_center,
            cuda_version=catalog.CUDA_VERSIONS[-1] if gpu else None,
            account_keys=account_keys if body.get("startSsh") else [],
            global_networking=body.get("globalNetworking", False),
        )

    def _refuse_unplaceable(self, body: Json) -> None:
        if "templateId" in body:
            raise not_found("template", body["templateId"])
        gpu_id = body.get("gpu", {}).get("id")
        if gpu_id is not None and gpu_id not in catalog.GPU_BY_ID:
            raise Problem(400, f"unknown gpu {gpu_id}")
        strange = set(body.get("dataCenterIds", [])) - catalog.DATA_CENTER_BY_ID.keys()
        if strange:
            raise Problem(400, f"unknown data center {', '.join(sorted(strange))}")
        if _volume_id(body) and body.get("cloud", "SECURE") != "SECURE":
            raise Problem(400, "network volumes are available in Secure Cloud only")

    def _adopt(self, pod: Pod) -> Runtime:
        volume = self._volumes.folder(pod.volume_id) if pod.volume_id else None
        box = Box(self._folder(pod.id), volume)
        runtime = Runtime(pod, box, self._shared, self._lock)
        self._runtimes[pod.id] = runtime
        return runtime

    def _is_attached(self, volume_id: str) -> bool:
        return any(r.pod.volume_id == volume_id for r in self._runtimes.values())

    def _folder(self, pod_id: str) -> Path:
        return self._shared.folder / "pods" / pod_id

    def _runtime(self, pod_id: str) -> Runtime:
        runtime = self._runtimes.get(pod_id)
        if runtime is None:
            raise not_found("pod", pod_id)
        return runtime


def _lock(runtime: Runtime) -> None:
    runtime.pod.locked = True


def _restart(runtime: Runtime) -> None:
    runtime.halt()
    runtime.boot()


def _volume_id(body: Json) -> str | None:
    attached = body.get("mounts", {}).get("network") or [{}]
    found: str | None = attached[0].get("volumeId")
    return found


def _apply(pod: Pod, body: Json) -> None:
    """Raises Problem 404 for a template, 400 when a mount would become another one."""
    if "templateId" in body:
        raise not_found("template", body["templateId"])
    mounts = body.get("mounts", pod.mounts)
    if mounts.keys() != pod.mounts.keys() or _volume_id({"mounts": mounts}) != pod.volume_id:
        raise Problem(400, "the kind of mount and its volume cannot change")
    for name in ("name", "image", "args", "ports", "env", "registry", "locked"):
        if name in body:
            setattr(pod, name, body[name])
    pod.mounts = mounts
    pod.disk_gb = body.get("disk", pod.disk_gb)
    pod.global_networking = body.get("globalNetworking", pod.global_networking)
