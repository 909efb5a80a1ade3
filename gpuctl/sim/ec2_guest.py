"""One simulated instance from the inside: a box, an SSH server, its user data and its timer."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from gpuctl import resources
from gpuctl.sim import ec2_docker, processes, services
from gpuctl.sim.box import SHELL, Box, card, program
from gpuctl.sim.drops import Drops
from gpuctl.sim.faults import Faults
from gpuctl.sim.processes import FOLDER_MARKER, POD_MARKER
from gpuctl.sim.ssh import Hooks, SshServer

USER = "ubuntu"
SERVED_PORTS = ("9090/tcp", "9999/tcp", "8188/tcp")
CARDS = {
    "g4dn": ("Tesla T4", 15360, "7.5"),
    "g5": ("NVIDIA A10G", 23028, "8.6"),
    "g6": ("NVIDIA L4", 23034, "8.9"),
    "g6e": ("NVIDIA L40S", 46068, "8.9"),
}
# What systemd writes for a shutdown that waits, read back by gpuctl as on a real instance.
SHUTDOWN = """minute_ms=${GPUCTL_SIM_MINUTE_MS:-60000}
when=
for word in "$@"; do
  case "$word" in
    -c) rm -f "$GPUCTL_SCHEDULED"; exit 0 ;;
    now) when=0 ;;
    +*) when=$(( $(date +%s) * 1000 + ${word#+} * minute_ms )) ;;
  esac
done
[ -n "$when" ] || exit 1
mkdir -p "$(dirname "$GPUCTL_SCHEDULED")"
printf 'USEC=%s\\nWARN_WALL=1\\nMODE=poweroff\\n' "${when}000" >"$GPUCTL_SCHEDULED.part"
mv "$GPUCTL_SCHEDULED.part" "$GPUCTL_SCHEDULED"
"""
SUDO = """while [ "${1#-}" != "$1" ]; do shift; done
exec "$@"
"""


class Guest:
    """Called by the backend under its lock. `box_folder` is removed by whoever made it."""

    def __init__(
        self,
        instance_id: str,
        kind: str,
        public_key: str,
        user_data: str,
        sim_folder: Path,
        settings: Mapping[str, str],
    ) -> None:
        self.id = instance_id
        self._kind = kind
        self._public_key = public_key
        self._user_data = user_data
        self._sim_folder = sim_folder
        self._settings = {name: text for name, text in settings.items() if name.isupper()}
        self._box = Box(sim_folder / "ec2" / instance_id)
        self._server: SshServer | None = None
        self._ports: dict[int, int] = {}
        self._said: list[str] = []

    @property
    def port(self) -> int | None:
        return self._server.port if self._server else None

    @property
    def console(self) -> str:
        """The serial console: kernel noise is spared, cloud-init's host keys are not."""
        text = "\n".join(self._said)
        boot_log = self._box.folder / "user-data.log"
        return text + (boot_log.read_text(errors="replace") if boot_log.is_file() else "")

    def boot(self) -> None:
        """Makes its disk, lets ssh in, and runs the user data in the background."""
        self._box.make(None, 0)
        self._put_programs()
        self._ports = services.mapped(SERVED_PORTS)
        hooks = Hooks(
            environment=self.environment,
            disk_is_full=lambda: False,
            drops=Drops(Faults((), lambda: None)),
            log=self._said.append,
            port=lambda number: self._ports.get(number, number),
        )
        self._server = SshServer(self._box, [self._public_key], hooks, user=USER)
        self._said += [
            "-----BEGIN SSH HOST KEY KEYS-----",
            f"{self._server.host_key} root@instance",
            "-----END SSH HOST KEY KEYS-----",
            "",
        ]
        threading.Thread(target=self._run_user_data, daemon=True).start()

    def halt(self) -> None:
        if self._server is not None:
            self._server.close()
        self._server = None
        self._schedule.unlink(missing_ok=True)
        processes.kill_all(POD_MARKER, self.id)

    @property
    def is_due(self) -> bool:
        """Whether the shutdown that was asked for inside has come."""
        try:
            lines = self._schedule.read_text(encoding="ascii").splitlines()
        except OSError:
            return False
        said = dict(line.partition("=")[::2] for line in lines)
        return int(said.get("USEC") or 0) <= time.time() * 1e6

    def environment(self) -> dict[str, str]:
        own = {
            **self._settings,
            services.MAPPING: services.as_text(self._ports),
            "GPUCTL_ROOT": str(self._root),
            "GPUCTL_SCHEDULED": str(self._schedule),
            "GPUCTL_SIM_SCRIPTS": str(resources.bundled("remote_scripts")),
            POD_MARKER: self.id,
            FOLDER_MARKER: str(self._sim_folder),
        }
        return self._box.environment(own, disk_is_full=False)

    @property
    def _root(self) -> Path:
        return self._box.folder / "disk"

    @property
    def _schedule(self) -> Path:
        return self._root / "run/systemd/shutdown/scheduled"

    def _put_programs(self) -> None:
        name, memory_mib, capability = CARDS.get(self._kind.partition(".")[0], CARDS["g4dn"])
        docker = f"exec {shlex.quote(sys.executable)} -I {shlex.quote(ec2_docker.__file__)}"
        scripts = {
            "nvidia-smi": card(name, memory_mib, 1, capability),
            "shutdown": SHUTDOWN,
            "poweroff": "exec shutdown -P now\n",
            "usermod": "exit 0\n",
            "sudo": SUDO,
            "docker": f'{docker} "$@"\n',
        }
        for command, script in scripts.items():
            program(self._box.programs / command, script)

    def _run_user_data(self) -> None:
        script = self._box.folder / "user-data"
        script.write_text(self._user_data, encoding="utf-8")
        with (self._box.folder / "user-data.log").open("wb") as log:
            subprocess.run(
                [SHELL, str(script)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**self.environment(), "PWD": os.sep},
                cwd=self._box.home,
                check=False,
            )
