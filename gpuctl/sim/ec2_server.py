"""The simulated AWS: `python -m gpuctl.sim.ec2_server FOLDER [name=value …]`, beside the simulator.

moto answers; every instance that it runs is a Guest on this computer.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from gpuctl.sim import ec2_faults, ec2_moto
from gpuctl.sim.ec2_guest import Guest
from gpuctl.sim.ec2_moto import ACCOUNT, PORT_TAG
from gpuctl.sim.store import write_json

FILE = "ec2.json"
WATCH_S = 0.1
FORGOTTEN_S = 6 * 3600.0


class Instances:
    """Every guest by its id: booted after `run`, halted when EC2 ends it or it ends itself."""

    def __init__(self, folder: Path, settings: dict[str, str]) -> None:
        self._folder = folder
        self._settings = settings
        self._boot_s = float(settings.get("boot_s", "0.2"))
        self._lock = threading.RLock()
        self._guests: dict[str, Guest] = {}
        self._instances: dict[str, Any] = {}

    def opened(self, instance: Any, public_key: str, user_data: str) -> None:
        kind = str(instance.instance_type)
        with self._lock:
            self._guests[instance.id] = Guest(
                instance.id, kind, public_key, user_data, self._folder, self._settings
            )
            self._instances[instance.id] = instance
        self._boot_later(instance)

    def started(self, instance: Any) -> None:
        if instance.id in self._guests:
            instance._state.name, instance._state.code = "pending", 0
            self._boot_later(instance)

    def closed(self, instance_id: str) -> None:
        with self._lock:
            guest = self._guests.get(instance_id)
            if guest is None:
                return
            guest.halt()
            if self._instances[instance_id]._state.name == "terminated":
                del self._guests[instance_id], self._instances[instance_id]
                shutil.rmtree(self._folder / "ec2" / instance_id, ignore_errors=True)

    def console(self, instance_id: str) -> str:
        guest = self._guests.get(instance_id)
        if guest is None or ec2_faults.take(self._folder, "ec2-no-console") is not None:
            return ""
        text = guest.console
        if ec2_faults.take(self._folder, "ec2-host-key") is not None:
            text = text.replace("AAAAC3NzaC1lZDI1NTE5AAAAI", "AAAAC3NzaC1lZDI1NTE5AAAAJ")
        return text

    def close(self) -> None:
        with self._lock:
            for guest in self._guests.values():
                guest.halt()

    def watch(self) -> None:
        """Does what a shutdown from inside does, as the instance's own setting says."""
        with self._lock:
            due = [self._instances[guest.id] for guest in self._guests.values() if guest.is_due]
        for instance in due:
            if instance.instance_initiated_shutdown_behavior == "terminate":
                instance.terminate()
            else:
                instance.stop()
            self.closed(instance.id)

    def _boot_later(self, instance: Any) -> None:
        timer = threading.Timer(self._boot_s, self._boot, (instance,))
        timer.daemon = True
        timer.start()

    def _boot(self, instance: Any) -> None:
        with self._lock:
            guest = self._guests.get(instance.id)
            if guest is None or instance._state.name != "pending":
                return
            guest.boot()
            next(iter(instance.nics.values())).public_ip = "127.0.0.1"
            instance.add_tags({PORT_TAG: str(guest.port)})
            # Who was ended while booting stays ended.
            if instance._state.name == "pending":
                instance._state.name, instance._state.code = "running", 16


def main(arguments: list[str]) -> None:
    folder = Path(arguments[0]).resolve()
    settings = dict(argument.split("=", 1) for argument in arguments[1:])
    signal.signal(signal.SIGHUP, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server_class = ec2_moto.import_moto()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    instances = Instances(folder, settings)
    ec2_moto.patch(instances, folder)
    server = server_class(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    port = server.get_host_and_port()[1]
    write_json(folder / FILE, {"port": port, "pid": os.getpid(), "account": ACCOUNT})
    began = time.monotonic()
    try:
        while folder.is_dir() and time.monotonic() - began < FORGOTTEN_S:
            time.sleep(WATCH_S)
            instances.watch()
    finally:
        instances.close()


if __name__ == "__main__":
    main(sys.argv[1:])
