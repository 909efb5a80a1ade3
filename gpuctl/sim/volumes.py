"""Network volumes: folders that outlive the pods they are mounted in."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from gpuctl.models import Json
from gpuctl.sim import catalog
from gpuctl.sim.problems import Problem, not_found


class Volumes:
    """`is_attached` is set by the fleet, which knows which pods mount what."""

    def __init__(
        self,
        records: Iterable[Json],
        folder: Path,
        new_id: Callable[[], str],
        on_change: Callable[[], None],
    ) -> None:
        self._folder = folder
        self._new_id = new_id
        self._on_change = on_change
        self._lock = threading.Lock()
        self._volumes = {record["id"]: dict(record) for record in records}
        self.is_attached: Callable[[str], bool] = lambda _: False

    def all(self) -> list[Json]:
        with self._lock:
            return [dict(volume) for volume in self._volumes.values()]

    def get(self, volume_id: str) -> Json:
        with self._lock:
            return dict(self._volume(volume_id))

    def folder(self, volume_id: str) -> Path:
        folder = self._folder / volume_id
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder

    def create(self, body: Json) -> Json:
        """Raises Problem 400 for a data centre without network volumes."""
        if body["dataCenter"] not in catalog.DATA_CENTER_BY_ID:
            known = ", ".join(catalog.DATA_CENTER_BY_ID)
            raise Problem(400, f"data center must be one of {known}")
        volume = {"type": "STANDARD", **body, "id": self._new_id()}
        with self._lock:
            self._volumes[volume["id"]] = volume
        self.folder(volume["id"])
        self._on_change()
        return volume

    def update(self, volume_id: str, body: Json) -> Json:
        """Raises Problem 400 when the volume would shrink."""
        with self._lock:
            volume = self._volume(volume_id)
            if body.get("size", volume["size"]) < volume["size"]:
                raise Problem(400, "a network volume cannot shrink")
            volume.update(body)
            updated = dict(volume)
        self._on_change()
        return updated

    def delete(self, volume_id: str) -> None:
        """Raises Problem 409 while a pod mounts it."""
        self.get(volume_id)
        if self.is_attached(volume_id):
            raise Problem(409, "network volume is in use by a pod")
        with self._lock:
            self._volumes.pop(volume_id, None)
        shutil.rmtree(self._folder / volume_id, ignore_errors=True)
        self._on_change()

    def _volume(self, volume_id: str) -> Json:
        if volume_id not in self._volumes:
            raise not_found("network volume", volume_id)
        return self._volumes[volume_id]
