"""One serverless worker: the real worker SDK in a process group of its own, and what it says."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from gpuctl.sim import catalog, clock
from gpuctl.sim.box import Box
from gpuctl.sim.logs import PodLog
from gpuctl.sim.processes import FOLDER_MARKER, POD_MARKER
from gpuctl.sim.services import WORKLOAD

# The SDK asks for no more while a long poll hangs, and ends only between two polls.
PING_MS = "5000"
# What a broken image does: it says why, and ends.
CRASHING = (
    "import sys; sys.exit('RuntimeError: CUDA error: no kernel image is available for execution')"
)


@dataclass(frozen=True, slots=True)
class Place:
    """What all workers of an endpoint share. `queue_url` is where the SDK asks for jobs; `env` the
    endpoint's own variables; `volume` the folder of its network volume, if it has one."""

    folder: Path
    sim_folder: Path
    scripts: Path
    queue_url: str
    key: str
    endpoint_id: str
    env: Mapping[str, str]
    surrounding: Mapping[str, str]
    card: catalog.Gpu | None
    volume: Path | None

    @property
    def workload(self) -> str | None:
        """None for an endpoint whose image is not one of ours: its workers are pretended."""
        name = self.env.get(WORKLOAD, "")
        has_handler = name.isidentifier() and (self.scripts / name / "handler.py").is_file()
        return name if has_handler else None


@dataclass(slots=True)
class Worker:
    """`is_ready` since it first asked for a job. `crashes` counts ends without an order, since it
    last was ready. Times are Unix seconds."""

    id: str
    version: int
    place: Place
    log: PodLog
    is_throttled: bool = False
    is_ready: bool = False
    is_leaving: bool = False
    crashes: int = 0
    began_at: float = 0.0
    idle_since: float = 0.0
    starts_at: float = 0.0
    process: subprocess.Popen[str] | None = field(default=None, repr=False)

    @property
    def is_billed(self) -> bool:
        return not self.is_throttled

    @property
    def is_pretended(self) -> bool:
        return self.place.workload is None

    def start(self, now: float, *, is_crashing: bool) -> None:
        """Raises OSError when this computer cannot."""
        self.began_at, self.is_ready, self.is_throttled = now, self.is_pretended, False
        self.idle_since = now
        self.log.system("worker is starting" if self.crashes == 0 else "worker is started again")
        if self.place.workload is None:
            return
        self._box.make(self.place.card.id if self.place.card else None, 1)
        run = [sys.executable, "-B", str(self.place.scripts / "run.py")]
        argv = [*run, "serverless", self.place.workload]
        self.process = subprocess.Popen(
            [sys.executable, "-c", CRASHING] if is_crashing else argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environment(),
            cwd=self._box.home,
            process_group=0,
            text=True,
            errors="replace",
        )
        threading.Thread(target=self._listen, args=(self.process,), daemon=True).start()

    def has_ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def kill(self) -> None:
        """The whole group: the SDK's heartbeat is a child that would ping for ever."""
        process, self.process = self.process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.place.folder / self.id, ignore_errors=True)

    @property
    def _box(self) -> Box:
        return Box(self.place.folder / self.id, self.place.volume)

    def _environment(self) -> dict[str, str]:
        place, url = self.place, self.place.queue_url
        # On RunPod the volume is at /runpod-volume; here the workspace leads to its folder.
        given = {name: text for name, text in place.env.items() if name != "GPUCTL_WORKSPACE"}
        own = {
            **place.surrounding,
            **given,
            # $ID and $RUNPOD_POD_ID are filled in by the SDK, which appends more after the "?".
            "RUNPOD_WEBHOOK_GET_JOB": f"{url}/job-take/$ID?gpu=sim",
            "RUNPOD_WEBHOOK_POST_OUTPUT": f"{url}/job-done/$RUNPOD_POD_ID/$ID?gpu=sim",
            "RUNPOD_WEBHOOK_POST_STREAM": f"{url}/job-stream/$RUNPOD_POD_ID/$ID?gpu=sim",
            "RUNPOD_WEBHOOK_PING": f"{url}/ping/$RUNPOD_POD_ID",
            "RUNPOD_PING_INTERVAL": PING_MS,
            "RUNPOD_AI_API_KEY": place.key,
            "RUNPOD_ENDPOINT_ID": place.endpoint_id,
            # Otherwise it opens a connection to the world, and ends when that fails.
            "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
            "PYTHONUNBUFFERED": "1",
            POD_MARKER: self.id,
            FOLDER_MARKER: str(place.sim_folder),
        }
        return self._box.environment(own, disk_is_full=False)

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                self.log.container(line.rstrip("\n"))


def worker_json(worker: Worker, status: str, version: int, now: float) -> dict[str, object]:
    """As `/workers` lists it."""
    has_begun = worker.began_at > 0 and not worker.is_throttled
    card = worker.place.card
    return {
        "id": worker.id,
        "status": status,
        "isStale": worker.version != version,
        "version": worker.version,
        "gpuCount": 1,
        "image": None,
        "uptimeSeconds": max(0, round(now - worker.began_at)) if has_begun else None,
        "gpuTypeId": card.id if card else None,
        "dataCenterId": card.stock[0][0] if card and card.stock else None,
        "startedAt": clock.rfc3339(datetime.fromtimestamp(worker.began_at, UTC))
        if has_begun
        else None,
    }
