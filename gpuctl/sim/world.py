"""The whole simulated account: pods, volumes, keys and faults, and their file on disk."""

from __future__ import annotations

import itertools
import secrets
import threading
from collections.abc import Mapping
from pathlib import Path

from gpuctl.models import Json
from gpuctl.resources import bundled
from gpuctl.sim import ledger
from gpuctl.sim.drops import Drops
from gpuctl.sim.endpoints import Endpoints, Grounds
from gpuctl.sim.faults import Faults
from gpuctl.sim.pods import Pods, new_id
from gpuctl.sim.queue_jobs import RESULT_LIFE_S
from gpuctl.sim.runtime import Surroundings
from gpuctl.sim.store import read_json, write_json
from gpuctl.sim.volumes import Volumes

STATE_FILE = "state.json"

PHASES = ("provisioning_s", "starting_s")


class World:
    def __init__(self, folder: Path, api_url: str, settings: Mapping[str, str]) -> None:
        """`settings`: provisioning_s and starting_s, the length of a boot's two phases; scripts, a
        folder for the pods' services and the workers in place of our remote_scripts;
        result_life_s, how long a finished job of a queue is kept; names in capitals are put into
        the environment of every pod.
        """
        self.folder = folder
        self._path = folder / STATE_FILE
        self._writing = threading.Lock()
        self._changes = itertools.count(1)
        self._written = 0
        state = read_json(self._path) or {}
        self.keys: list[str] = state.get("keys", [])
        self.faults = Faults(state.get("faults", []), self.save)
        self.volumes = Volumes(state.get("volumes", []), folder / "volumes", new_id, self.save)
        phases = {name: float(settings[name]) for name in PHASES if name in settings}
        environment = {name: value for name, value in settings.items() if name.isupper()}
        drops = Drops(self.faults)
        scripts = Path(settings["scripts"]) if "scripts" in settings else bundled("remote_scripts")
        shared = Surroundings(
            folder, api_url, self.faults, drops, self.save, environment, scripts, **phases
        )
        self.pods = Pods(state.get("pods", []), shared, self.volumes)
        self.worker_key = f"rpw_sim_{secrets.token_hex(24)}"
        grounds = Grounds(
            folder,
            api_url.removesuffix("/v2"),
            self.worker_key,
            self.faults,
            self.volumes,
            scripts,
            environment,
            self.save,
            new_id,
            float(settings.get("result_life_s", RESULT_LIFE_S)),
        )
        self.endpoints = Endpoints(state.get("endpoints", []), grounds)
        self.ledger = ledger.Ledger(state.get("ledger", []))

    def set_keys(self, keys: list[str]) -> None:
        self.keys = keys
        self.save()

    def save(self) -> None:
        """On disk when it returns. A snapshot that a later one has overtaken is not written."""
        change = next(self._changes)
        self.observe()
        snapshot = self._snapshot()
        with self._writing:
            if change > self._written and self.folder.is_dir():
                write_json(self._path, snapshot)
                self._written = change

    def observe(self) -> None:
        """Lets the ledger see what is billed now."""
        volumes = self.volumes.all()
        self.ledger.observe("pod", self.pods.rates())
        self.ledger.observe("volume", {each["id"]: ledger.volume_rates(each) for each in volumes})
        self.ledger.observe("serverless", self.endpoints.rates())

    def _snapshot(self) -> Json:
        return {
            "pods": self.pods.records(),
            "volumes": self.volumes.all(),
            "endpoints": self.endpoints.records(),
            "ledger": self.ledger.records(),
            "keys": self.keys,
            "faults": self.faults.as_json(),
        }
