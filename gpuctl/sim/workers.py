"""The workers of one endpoint: as many as its queue, its limits and its idle time ask for."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from gpuctl.models import Json
from gpuctl.sim.faults import Faults
from gpuctl.sim.logs import PodLog
from gpuctl.sim.problems import not_found
from gpuctl.sim.queue_jobs import QueueJobs
from gpuctl.sim.worker_process import Place, Worker, worker_json

DEFAULT_IDLE_S = 10.0
FIRST_RESTART_S, LONGEST_RESTART_S = 0.2, 5.0
# From so many ends in a row on, without ever having asked for a job, a worker counts as unhealthy.
UNHEALTHY_FROM = 2


@dataclass(frozen=True, slots=True)
class Terms:
    """What the endpoint says of its workers; times in seconds."""

    least: int
    most: int
    idle_s: float
    queue_delay_s: float | None
    request_count: int | None
    version: int

    @classmethod
    def of(cls, endpoint: Json, version: int) -> Terms:
        workers, scaling = endpoint["workers"], endpoint["scaling"]
        return cls(
            least=int(workers["min"]),
            most=int(workers["max"]),
            idle_s=float(workers.get("idleTimeout", DEFAULT_IDLE_S)),
            queue_delay_s=scaling.get("queueDelay"),
            request_count=scaling.get("requestCount"),
            version=version,
        )


@dataclass(slots=True)
class Workers:
    """Every method may be called from any thread."""

    queue: QueueJobs
    faults: Faults
    new_id: Callable[[], str]
    _workers: list[Worker] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def tick(self, terms: Terms, place: Place, now: float) -> bool:
        """Looks after every worker once; whether the number of those that bill has changed."""
        with self._lock:
            before = self.billed()
            self.queue.time_out()
            self._strike()
            self._bury(now)
            self._fit(terms, place, now)
            self._start_due(now)
            return self.billed() != before

    def billed(self) -> int:
        """Without the lock: the world asks while it writes, and a tick may be what makes it."""
        return sum(worker.is_billed for worker in list(self._workers))

    def asked(self, worker_id: str, now: float) -> bool:
        """A worker asks for a job: it is ready. False when it shall have none."""
        with self._lock:
            worker = self._find(worker_id)
            if worker is None or worker.is_leaving:
                return False
            if not worker.is_ready:
                worker.is_ready, worker.crashes, worker.idle_since = True, 0, now
                worker.log.system("worker is ready")
            return True

    def ended_job(self, worker_id: str, now: float) -> None:
        with self._lock:
            worker = self._find(worker_id)
            if worker is not None:
                worker.idle_since = now

    def listed(self, version: int, now: float) -> Json:
        with self._lock:
            rows = [worker_json(each, self._status(each), version, now) for each in self._workers]
        names = ("running", "idle", "initializing", "throttled", "unhealthy")
        summary = {name: sum(row["status"] == name.upper() for row in rows) for name in names}
        return {
            "workers": rows,
            "summary": {**summary, "total": len(rows)},
            "endpointVersion": version,
        }

    def log(self, worker_id: str) -> PodLog:
        with self._lock:
            worker = self._find(worker_id)
        if worker is None:
            raise not_found("worker", worker_id)
        return worker.log

    def close(self) -> None:
        """Ends every worker and gives back what it had."""
        with self._lock:
            for worker in list(self._workers):
                self._dismiss(worker)

    def _find(self, worker_id: str) -> Worker | None:
        return next((worker for worker in self._workers if worker.id == worker_id), None)

    def _status(self, worker: Worker) -> str:
        if worker.is_throttled:
            return "THROTTLED"
        if not worker.is_ready:
            return "UNHEALTHY" if worker.crashes >= UNHEALTHY_FROM else "INITIALIZING"
        return "RUNNING" if self.queue.running(worker.id) else "IDLE"

    def _is_idle(self, worker: Worker) -> bool:
        return worker.is_ready and not self.queue.running(worker.id)

    def _strike(self) -> None:
        """Kills a worker in the middle of a job, when that is asked for."""
        busy = [worker for worker in self._workers if self.queue.running(worker.id)]
        if busy and self.faults.take("worker-killed") is not None:
            worker = busy[0]
            worker.log.system("worker was killed")
            worker.kill()
            self._lost(worker)
            self._workers.remove(worker)

    def _lost(self, worker: Worker) -> None:
        for job_id in self.queue.worker_lost(worker.id):
            worker.log.system(f"job {job_id} goes back to the queue")

    def _bury(self, now: float) -> None:
        """A process that ended by itself: its job goes to another, and it is started again."""
        for worker in self._workers:
            if not worker.has_ended():
                continue
            code = worker.process.returncode if worker.process else None
            worker.kill()
            self._lost(worker)
            worker.crashes += 1
            pause_s = min(FIRST_RESTART_S * 2 ** (worker.crashes - 1), LONGEST_RESTART_S)
            worker.is_ready, worker.starts_at = False, now + pause_s
            worker.log.system(f"worker exited with code {code}")

    def _fit(self, terms: Terms, place: Place, now: float) -> None:
        for worker in list(self._workers):
            is_over = len(self._workers) > terms.most
            is_stale = worker.version != terms.version
            is_unneeded = not worker.is_ready and (is_over or is_stale)
            if is_unneeded or (self._is_idle(worker) and (is_over or is_stale)):
                self._dismiss(worker)
        wanted = max(terms.least, min(terms.most, self._wanted(terms)))
        while len(self._workers) < wanted:
            self._hire(terms, place, now)
        for worker in list(self._workers):
            is_old = self._is_idle(worker) and now - worker.idle_since > terms.idle_s
            if is_old and len(self._workers) > terms.least and not self.queue.waiting():
                self._dismiss(worker)

    def _wanted(self, terms: Terms) -> int:
        """How many the scaling rule asks for, the present ones included."""
        here, waits = len(self._workers), self.queue.waiting()
        if terms.request_count:
            load = len(waits) + len(self.queue.running())
            return max(here, math.ceil(load / terms.request_count))
        starting = sum(not worker.is_ready for worker in self._workers)
        if not waits or starting >= len(waits):
            return here
        is_late = here == 0 or waits[0] > (terms.queue_delay_s or 0.0)
        return here + 1 if is_late else here

    def _hire(self, terms: Terms, place: Place, now: float) -> None:
        worker_id = self.new_id()
        log = PodLog(place.folder / worker_id / "log.ndjson")
        worker = Worker(worker_id, terms.version, place, log, starts_at=now)
        worker.is_throttled = True
        self._workers.append(worker)
        self._start_due(now)

    def _start_due(self, now: float) -> None:
        for worker in self._workers:
            is_down = worker.process is None and not (worker.is_pretended and worker.is_ready)
            if not is_down or now < worker.starts_at:
                continue
            if self.faults.peek("no-workers") is not None:
                worker.is_throttled = True
                continue
            worker.start(now, is_crashing=self.faults.peek("worker-crash-loop") is not None)

    def _dismiss(self, worker: Worker) -> None:
        worker.is_leaving = True
        worker.kill()
        self._lost(worker)
        self._workers.remove(worker)
        worker.remove()
