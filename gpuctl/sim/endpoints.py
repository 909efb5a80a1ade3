"""Serverless endpoints: created, scaled, deleted; their queues and workers; what they bill."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpuctl.models import Json
from gpuctl.sim import catalog, clock, endpoint_bodies
from gpuctl.sim.faults import Faults
from gpuctl.sim.problems import NO_CAPACITY, Problem, not_found
from gpuctl.sim.queue_jobs import RESULT_LIFE_S, QueueJobs
from gpuctl.sim.store import read_json, write_json
from gpuctl.sim.volumes import Volumes
from gpuctl.sim.worker_process import Place
from gpuctl.sim.workers import Terms, Workers

TICK_S = 0.05
QUEUE_FILE = "queue.json"
# A change of one of these makes a new release (facts: runpod.md §3.3).
RELEASED = ("image", "args", "env", "disk", "gpu", "ports", "registry")


@dataclass(frozen=True, slots=True)
class Grounds:
    """What all endpoints share. `base_url` is the simulator's; `worker_key` opens the workers'
    side of every queue and nothing else."""

    folder: Path
    base_url: str
    worker_key: str
    faults: Faults
    volumes: Volumes
    scripts: Path
    environment: Mapping[str, str]
    on_change: Callable[[], None]
    new_id: Callable[[], str]
    result_life_s: float = RESULT_LIFE_S


class Served:
    """One endpoint with its queue and its workers."""

    def __init__(self, record: Json, grounds: Grounds) -> None:
        self.releases: list[Json] = record.pop("releases", [])
        self.record = record
        self._grounds = grounds
        self._file = self.folder / QUEUE_FILE
        jobs = (read_json(self._file) or {}).get("jobs", [])
        self.queue = QueueJobs(jobs, result_life_s=grounds.result_life_s)
        self.workers = Workers(self.queue, grounds.faults, grounds.new_id)

    @property
    def folder(self) -> Path:
        return self._grounds.folder / "endpoints" / str(self.record["id"])

    @property
    def version(self) -> int:
        return len(self.releases)

    def tick(self) -> bool:
        return self.workers.tick(Terms.of(self.record, self.version), self._place(), time.time())

    def close(self) -> None:
        self.workers.close()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_json(self._file, {"jobs": self.queue.records()})

    def as_json(self) -> Json:
        base = f"{self._grounds.base_url}/jobs/v2/{self.record['id']}"
        urls = {name: f"{base}/{path}" for name, path in endpoint_bodies.URLS.items()}
        return {**self.record, "requestUrls": urls}

    def release(self, changes: Json) -> None:
        """Another version of the endpoint, for the changes that make one."""
        diff = [
            {"field": name, "old": self.record.get(name), "new": value}
            for name, value in changes.items()
            if name in RELEASED and self.record.get(name) != value
        ]
        if diff or not self.releases:
            self.releases.append(
                {
                    "id": self._grounds.new_id(),
                    "version": self.version + 1,
                    "source": "MANUAL",
                    "buildId": None,
                    "createdByUserId": None,
                    "workerCount": 0,
                    "createdAt": clock.rfc3339(clock.now()),
                    "diff": diff,
                }
            )

    def usd_h(self) -> float:
        card = _card(self.record)
        price = catalog.gpu_json(card)["price"].get("serverless", 0.0) if card else 0.0
        return float(price) * int(self.record["gpu"]["count"]) * self.workers.billed()

    def _place(self) -> Place:
        grounds, mounted = self._grounds, self.record["networkVolumes"]
        return Place(
            folder=self.folder,
            sim_folder=grounds.folder,
            scripts=grounds.scripts,
            queue_url=f"{grounds.base_url}/worker/v2/{self.record['id']}",
            key=grounds.worker_key,
            endpoint_id=str(self.record["id"]),
            env=self.record["env"],
            surrounding=grounds.environment,
            card=_card(self.record),
            volume=grounds.volumes.folder(mounted[0]) if mounted else None,
        )


class Endpoints:
    """Safe to use from every thread."""

    def __init__(self, records: Iterable[Json], grounds: Grounds) -> None:
        self._grounds = grounds
        self._served = {record["id"]: Served(dict(record), grounds) for record in records}
        self._lock = threading.RLock()
        self._is_closed = threading.Event()

    def run(self) -> None:
        """Looks after all workers, on a thread of its own, until `close`."""
        threading.Thread(target=self._watch, name="endpoints", daemon=True).start()

    def close(self) -> None:
        """Ends every worker; endpoints and jobs are remembered."""
        self._is_closed.set()
        with self._lock:
            for served in self._served.values():
                served.close()

    # What the world writes down is read without the lock: a fault that is drawn while it is held
    # writes, and who writes may hold the lock of the pods.

    def records(self) -> list[Json]:
        return [{**each.record, "releases": each.releases} for each in list(self._served.values())]

    def all(self) -> list[Json]:
        return [served.as_json() for served in list(self._served.values())]

    def get(self, endpoint_id: str) -> Json:
        return self.served(endpoint_id).as_json()

    def served(self, endpoint_id: str) -> Served:
        """Raises Problem 404."""
        with self._lock:
            if endpoint_id not in self._served:
                raise not_found("endpoint", endpoint_id)
            return self._served[endpoint_id]

    def is_worker_key(self, key: str) -> bool:
        return key == self._grounds.worker_key

    def rates(self) -> dict[str, dict[str, float]]:
        """USD an hour of each endpoint: every worker that is not held back bills (§3)."""
        return {name: {"gpuAmount": each.usd_h()} for name, each in list(self._served.items())}

    def running_count(self) -> int:
        return sum(served.workers.billed() for served in list(self._served.values()))

    def create(self, body: Any) -> Json:
        """Raises Problem 422 for the shape, 400 for what does not exist."""
        checked = endpoint_bodies.checked_create(body, self._grounds.volumes)
        if self._grounds.faults.take("no-capacity", lambda f: not f.value) is not None:
            raise Problem(400, NO_CAPACITY)
        served = Served(endpoint_bodies.made(checked, self._grounds.new_id()), self._grounds)
        served.release({})
        with self._lock:
            self._served[str(served.record["id"])] = served
            served.tick()
        self._grounds.on_change()
        if self._grounds.faults.take("create-500") is not None:
            raise Problem(500, "internal server error")
        return served.as_json()

    def update(self, endpoint_id: str, body: Any) -> Json:
        with self._lock:
            served = self.served(endpoint_id)
            changes = endpoint_bodies.checked_update(body, served.record, self._grounds.volumes)
            served.release(changes)
            served.record.update(changes)
            served.tick()
        self._grounds.on_change()
        return served.as_json()

    def delete(self, endpoint_id: str) -> None:
        with self._lock:
            served = self.served(endpoint_id)
            if self._grounds.faults.take("endpoint-kept") is not None:
                return
            del self._served[endpoint_id]
            served.close()
        self._grounds.on_change()

    def listed_releases(self, endpoint_id: str) -> Json:
        served = self.served(endpoint_id)
        rows = served.workers.listed(served.version, time.time())["workers"]
        latest = sum(not row["isStale"] for row in rows)
        percent = round(100 * latest / len(rows)) if rows else 100
        return {
            "endpointVersion": served.version,
            "rollout": {
                "inProgress": latest < len(rows),
                "workersOnLatest": latest,
                "workersTotal": len(rows),
                "percentOnLatest": percent,
            },
            "releases": served.releases[::-1],
        }

    def _watch(self) -> None:
        while not self._is_closed.wait(TICK_S):
            with self._lock:
                # All of them: `any` alone would stop at the first that changed.
                changed = any([each.tick() for each in self._served.values()])
            if changed:
                self._grounds.on_change()


def _card(endpoint: Json) -> catalog.Gpu | None:
    """The dearest card that a worker may get: what the account is told to expect."""
    gpu = endpoint["gpu"]
    excluded = gpu.get("excludedTypes", [])
    fitting = [
        card for card in catalog.GPUS if card.pool in gpu["pools"] and card.id not in excluded
    ]
    return max(fitting, key=lambda card: card.secure_usd_h, default=None)
