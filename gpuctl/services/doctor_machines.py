"""Checks inside the machines that run (`--deep`): reachable, quick to log in, well pinned."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from gpuctl.errors import GpuctlError
from gpuctl.models import Machine
from gpuctl.remote.base import Shell
from gpuctl.services.doctor import BREAKAGE, Bench, Check, side_by_side
from gpuctl.services.doctor_runpod import with_key
from gpuctl.services.findings import Finding, fail, ok, skipped, warn

SLOW_START_S = 0.15
PARALLEL = 4
COMMAND_LIMIT_S = 15.0
# Releases of the worker SDK that give every job to one worker (runpod.md §10, #432, #517).
BAD_WORKER = ((1, 7, 11), (1, 10, 0))
# By these bash knows that sshd started it, and reads ~/.bashrc.
_AS_SSHD = ("env", "SHLVL=0", "SSH_CLIENT=127.0.0.1 1 22", "bash", "-c", "true")
_TCP_SETTINGS = (
    "/proc/sys/net/ipv4/tcp_congestion_control",
    "/proc/sys/net/ipv4/tcp_slow_start_after_idle",
)
_PIN = re.compile(r"^\s*runpod\s*==\s*([0-9.]+)", re.MULTILINE)
_REQUIREMENTS = "cat /workspace/*/requirements*.txt /*/requirements*.txt 2>/dev/null; true"


def machines(bench: Bench) -> Sequence[Finding]:
    running = [one for one in bench.provider.list() if one.status == "RUNNING"]
    if not running:
        return [skipped("machines", "none is running")]
    return side_by_side(lambda machine: _machine(bench, machine), running, PARALLEL)


CHECKS = (Check("machines", with_key("machines", machines), 120.0),)


def _machine(bench: Bench, machine: Machine) -> list[Finding]:
    name = machine.name
    if machine.workload is None and bench.state.machine(machine.id) is None:
        return [skipped(name, "gpuctl did not make it")]
    try:
        began = time.monotonic()
        with bench.connect(machine) as shell:
            found = [ok(name, f"ssh in {time.monotonic() - began:.1f} s ({machine.address})")]
            return [*found, *_login(name, shell), *_congestion(name, shell), *_worker(name, shell)]
    except GpuctlError as error:
        return [fail(name, error.message, error.hint or f"gpuctl status {name}")]
    except BREAKAGE as error:
        return [fail(name, f"cannot be checked: {type(error).__name__}: {error}")]


def _login(name: str, shell: Shell) -> list[Finding]:
    """`.bashrc` runs before every single command of ssh: what it costs, each of them pays."""
    plain = _seconds(shell, ("bash", "--noprofile", "--norc", "-c", "true"))
    full = _seconds(shell, _AS_SSHD)
    if plain is None or full is None:
        return []
    extra_s = full - plain
    if extra_s <= SLOW_START_S:
        return []
    said = f"~/.bashrc costs {extra_s * 1000:.0f} ms at every command"
    return [warn(f"{name} login", said, f"gpuctl exec {name} -- bash -xic true   # shows why")]


def _seconds(shell: Shell, argv: tuple[str, ...]) -> float | None:
    """The quickest of two: the first one reads the disk."""
    took = []
    for _ in range(2):
        began = time.monotonic()
        if shell.run(argv, timeout_s=COMMAND_LIMIT_S).exit_code != 0:
            return None
        took.append(time.monotonic() - began)
    return min(took)


def _congestion(name: str, shell: Shell) -> list[Finding]:
    """It decides how fast a picture comes home over a long link (performance.md §6)."""
    answer = shell.run(("cat", *_TCP_SETTINGS), timeout_s=COMMAND_LIMIT_S)
    algorithm, *rest = answer.stdout.split() or [""]
    if answer.exit_code != 0 or not algorithm:
        return []
    # bbr keeps its pace over a pause; the others begin anew unless that is switched off.
    restarts = rest[:1] == ["1"] and algorithm != "bbr"
    said = f"sends with {algorithm}" + (", slowly at first after each pause" if restarts else "")
    return [ok(f"{name} tcp", said)]


def _worker(name: str, shell: Shell) -> list[Finding]:
    answer = shell.run(("sh", "-c", _REQUIREMENTS), timeout_s=COMMAND_LIMIT_S)
    bad = [pin for pin in _PIN.findall(answer.stdout) if is_bad_worker(pin)]
    if not bad:
        return []
    said = f"runpod=={bad[0]} gives every job to one worker"
    return [warn(f"{name} worker", said, "pin runpod>=1.12,<2 in its requirements")]


def is_bad_worker(version: str) -> bool:
    """Whether a release of the worker SDK is one of those with the queue defect."""
    numbers = tuple(int(part) for part in version.strip(".").split(".") if part.isdigit())
    padded = (*numbers, 0, 0, 0)[:3]
    return BAD_WORKER[0] <= padded <= BAD_WORKER[1]
