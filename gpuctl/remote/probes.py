"""Questions to a machine: what to run, and what its answer means."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from gpuctl.errors import ConnectionFailed, GpuctlError
from gpuctl.remote.base import LOST, Completed, Shell

Answer = TypeVar("Answer")

_NOT_FOUND = 127


@dataclass(frozen=True, slots=True)
class Probe(Generic[Answer]):
    """`parse` gets whatever the command left, failures included."""

    argv: tuple[str, ...]
    parse: Callable[[Completed], Answer]

    def ask(self, shell: Shell) -> Answer:
        """Raises ConnectionFailed, GpuctlError when the answer makes no sense."""
        completed = shell.run(self.argv)
        if completed.exit_code == LOST:
            raise ConnectionFailed(f"the connection was lost before `{self.argv[0]}` answered")
        return self.parse(completed)


@dataclass(frozen=True, slots=True)
class GpuUse:
    """One card now. Memory in MiB and use in percent, None where the driver does not say."""

    index: int
    name: str
    memory_mib: int | None
    memory_used_mib: int | None
    use_percent: int | None
    driver: str


@dataclass(frozen=True, slots=True)
class Disk:
    """One file system, sizes in bytes."""

    total_bytes: int
    free_bytes: int
    mounted_on: str


def _gpu_names(completed: Completed) -> tuple[str, ...]:
    """No card, no driver and no nvidia-smi are the same answer: none."""
    names = re.findall(r"^GPU \d+: (.+?) \(UUID: [^)]+\)\s*$", completed.stdout, re.MULTILINE)
    if completed.exit_code == 0 or _has_no_gpu(completed):
        return tuple(names)
    raise _senseless("nvidia-smi -L", completed)


def _gpu_use(completed: Completed) -> tuple[GpuUse, ...]:
    if _has_no_gpu(completed):
        return ()
    if completed.exit_code != 0:
        raise _senseless("nvidia-smi", completed)
    return tuple(_gpu_row(line) for line in completed.stdout.splitlines() if line.strip())


def _gpu_row(line: str) -> GpuUse:
    fields = [field.strip() for field in line.split(",")]
    if len(fields) != 6:
        raise GpuctlError(f"nvidia-smi answered something else than expected: {line}")
    index, name, total, used, use, driver = fields
    return GpuUse(int(index), name, _number(total), _number(used), _number(use), driver)


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def _has_no_gpu(completed: Completed) -> bool:
    text = completed.stdout + completed.stderr
    no_card = "No devices were found" in text or "couldn't communicate with the NVIDIA" in text
    return completed.exit_code == _NOT_FOUND or no_card


def _disk(completed: Completed) -> Disk:
    lines = completed.stdout.splitlines()
    fields = lines[-1].split(maxsplit=5) if len(lines) > 1 else []
    if len(fields) != 6:
        raise _senseless("df", completed)
    total, _used, free = (int(field) << 10 for field in fields[1:4])
    return Disk(total, free, fields[5])


def _python(completed: Completed) -> tuple[int, int, int] | None:
    match = re.match(r"Python (\d+)\.(\d+)\.(\d+)", completed.stdout or completed.stderr)
    if match is None:
        return None
    major, minor, micro = match.groups()
    return int(major), int(minor), int(micro)


def _senseless(command: str, completed: Completed) -> GpuctlError:
    said = (completed.stderr or completed.stdout).strip().splitlines()[-1:] or ["nothing"]
    return GpuctlError(f"`{command}` failed on the machine: {said[0]}")


GPUS = Probe(("nvidia-smi", "-L"), _gpu_names)
"""The names of the cards, in the driver's order; () without any."""

GPU_USE = Probe(
    (
        "nvidia-smi",
        "--query-gpu=index,name,memory.total,memory.used,utilization.gpu,driver_version",
        "--format=csv,noheader,nounits",
    ),
    _gpu_use,
)

PYTHON = Probe(("python3", "--version"), _python)
"""The version of the machine's python3, None when it has none."""


def disk(path: str) -> Probe[Disk]:
    """The file system that `path` lies on."""
    return Probe(("df", "-Pk", "--", path), _disk)
