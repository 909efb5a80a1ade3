"""A pod in motion: its box, its SSH server, its log, and the thread that boots it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gpuctl.sim import clock, mishaps, processes, services
from gpuctl.sim.box import Box
from gpuctl.sim.drops import Drops
from gpuctl.sim.faults import Faults
from gpuctl.sim.logs import PodLog
from gpuctl.sim.pod import Pod
from gpuctl.sim.processes import FOLDER_MARKER, POD_MARKER
from gpuctl.sim.ssh import Hooks, SshServer


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every pod shares. `api_url` as pods see it; `environment` is added to every pod's;
    `scripts` is what stands in for the images' own copy of remote_scripts; seconds for the two
    phases of a boot."""

    folder: Path
    api_url: str
    faults: Faults
    drops: Drops
    on_change: Callable[[], None]
    environment: Mapping[str, str]
    scripts: Path
    provisioning_s: float = 0.1
    starting_s: float = 0.2


class Runtime:
    """Called under the lock of the fleet, but for `_boot`, which takes it itself."""

    def __init__(self, pod: Pod, box: Box, shared: Surroundings, lock: threading.RLock) -> None:
        self.pod = pod
        self.log = PodLog(box.folder / "log.ndjson")
        self._box = box
        self._shared = shared
        self._lock = lock
        self._server: SshServer | None = None
        self._service: services.Service | None = None
        self._cancelled = threading.Event()

    def boot(self) -> None:
        """Goes through PROVISIONING and STARTING to RUNNING in the background."""
        self._box.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        fault = self._shared.faults.take("slow-start")
        delay_s = float(fault.value or 30) if fault else 0.0
        self._cancelled = threading.Event()
        self.pod.status, self.pod.started_at = "PROVISIONING", None
        self.pod.mishap = None
        self.log.system(f"create container {self.pod.image}")
        threading.Thread(target=self._boot, args=(self._cancelled, delay_s), daemon=True).start()

    def halt(self) -> None:
        """Closes the SSH server and kills whatever runs in the pod."""
        self._cancelled.set()
        if self._server is not None:
            self._server.close()
        self._server = None
        if self._service is not None:
            self._service.end()
        self._service = None
        self.pod.ssh_port, self.pod.local_ports = None, {}
        processes.kill_all(POD_MARKER, self.pod.id)

    def stop(self) -> None:
        """Raises nothing; the container disk is gone, a mounted workspace stays."""
        self.halt()
        self._box.wipe(keep_workspace=bool(self.pod.mounts))
        self.pod.status = "EXITED"
        self.log.system("stop container")

    def move(self) -> None:
        """A new port and host key at once; what runs in the pod goes on."""
        if self._server is not None:
            self._server.close()
        self._listen()
        self.log.system("network address changed")

    def _boot(self, cancelled: threading.Event, delay_s: float) -> None:
        if cancelled.wait(self._shared.provisioning_s):
            return
        with self._lock:
            if cancelled.is_set():
                return
            self.pod.status = "STARTING"
            self.log.system(f"image pull: {self.pod.image}: pulling")
        if cancelled.wait(self._shared.starting_s + delay_s):
            return
        with self._lock:
            if not cancelled.is_set():
                self._run()

    def _run(self) -> None:
        mishap = mishaps.drawn(self._shared.faults)
        if mishap is not None:
            self._run_into(mishap)
            return
        self.log.system(f"image pull: {self.pod.image}: complete")
        self.log.system("start container")
        self._box.make(self.pod.gpu_id, self.pod.gpus_present)
        has_service = services.has_service(self._shared.scripts, self.pod.env)
        self.pod.local_ports = services.mapped(self.pod.ports) if has_service else {}
        self._listen()
        self.pod.status = "RUNNING"
        self.log.container(f"sshd listens on port 22 (public port {self.pod.ssh_port})")
        if has_service:
            self._service = services.Service(
                self._shared.scripts, self._environment(), self.log.container
            )
        self._shared.on_change()

    def _run_into(self, mishap: mishaps.Mishap) -> None:
        """A boot that does not end in a machine one could use."""
        for line in mishap.system:
            self.log.system(line.format(image=self.pod.image))
        for line in mishap.container:
            self.log.container(line)
        self.pod.mishap, self.pod.status = mishap.kind, mishap.status
        if mishap.status == "RUNNING":
            self._listen()
            assert self._server is not None
            self._server.close()  # a port at which nobody answers
            self._server = None
        self._shared.on_change()

    def _listen(self) -> None:
        hooks = Hooks(
            environment=self._environment,
            disk_is_full=self._disk_is_full,
            drops=self._shared.drops,
            log=self.log.container,
            port=lambda number: self.pod.local_ports.get(number, number),
        )
        self._server = SshServer(self._box, self.pod.authorized_keys, hooks)
        self.pod.ssh_port = self._server.port
        self.pod.started_at = clock.rfc3339(clock.now())
        self._shared.on_change()

    def _environment(self) -> dict[str, str]:
        pod = self.pod
        mapping = services.as_text(pod.local_ports)
        own = {
            **self._shared.environment,
            **({services.MAPPING: mapping} if mapping else {}),
            "RUNPOD_API_KEY": pod.key,
            "GPUCTL_API_URL": self._shared.api_url,  # the watchdog knows the real one itself
            "RUNPOD_DC_ID": pod.data_center or "",
            "RUNPOD_GPU_COUNT": str(pod.gpus_present),
            "RUNPOD_PUBLIC_IP": "127.0.0.1",
            "RUNPOD_TCP_PORT_22": str(pod.ssh_port),
            **({"RUNPOD_VOLUME_ID": pod.volume_id} if pod.volume_id else {}),
            **pod.env,
            POD_MARKER: pod.id,
            FOLDER_MARKER: str(self._shared.folder),
        }
        return self._box.environment(own, disk_is_full=self._disk_is_full())

    def _disk_is_full(self) -> bool:
        return self._shared.faults.peek("disk-full") is not None
