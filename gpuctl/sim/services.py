"""The service of a pod's workload: what the real image starts beside sshd."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

WORKLOAD = "GPUCTL_WORKLOAD"
MAPPING = "GPUCTL_SIM_PORTS"
# What services listen on that no `ports` names, because their clients come through a tunnel.
USUAL_PORTS = (9090, 9999, 8080, 8000, 3000, 8188)
# Below the range from which systems take the ports of outgoing connections.
FREE_PORTS = range(20_000, 32_000)
GRACE_S = 2.0


def has_service(scripts: Path, env: Mapping[str, str]) -> bool:
    """Whether a pod with this `env` starts one."""
    name = env.get(WORKLOAD, "")
    return name.isidentifier() and (scripts / name / "service.py").is_file()


def mapped(declared: Iterable[str]) -> dict[int, int]:
    """A port of this computer for each port of the pod (`8188/http`) and the usual ones; not 22."""
    named = (int(text.partition("/")[0]) for text in declared)
    wanted = dict.fromkeys([*named, *USUAL_PORTS])
    wanted.pop(22, None)
    found: dict[int, int] = {}
    for number in wanted:
        found[number] = _free_port(found.values())
    return found


def as_text(ports: Mapping[int, int]) -> str:
    """As `worker/ports.py` reads it."""
    return ",".join(f"{number}:{here}" for number, here in ports.items())


class Service:
    """Runs from construction on, in a group of its own, until it ends or `end` is called."""

    def __init__(
        self, scripts: Path, environment: Mapping[str, str], log: Callable[[str], None]
    ) -> None:
        self._log = log
        self._process = subprocess.Popen(
            ["python3", "-B", str(scripts / "run.py"), "service", environment[WORKLOAD]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**environment, "PYTHONUNBUFFERED": "1"},
            cwd=environment["HOME"],
            process_group=0,
            text=True,
            errors="replace",
        )
        self._is_wanted = True
        threading.Thread(target=self._tell, daemon=True).start()

    def end(self) -> None:
        """As a container runtime does: asks, waits a little, then kills."""
        self._is_wanted = False
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _tell(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._log(line.rstrip("\n"))
        code = self._process.wait()
        if self._is_wanted:
            self._log(f"the service ended with exit code {code}")


def _free_port(taken: Iterable[int]) -> int:
    others = set(taken)
    while True:
        port = random.choice(FREE_PORTS)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            if port not in others:
                return port
