"""Where things lie in the workspace, and which names are allowed there."""

# pathlib and dataclasses cost 4 and 15 ms of import here, more than the whole of `submit` does.
# ruff: noqa: PTH100, PTH103, PTH105, PTH108, PTH110, PTH113, PTH120, PTH208

from __future__ import annotations

import os

ID_CHARACTERS = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-")
ID_LENGTH_LIMIT = 64
SCRIPTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Layout:
    """Absolute paths (str) under one workspace. Sockets alone are named relative to `run`."""

    __slots__ = ("root", "run")

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)
        self.run = f"{self.root}/run"

    @classmethod
    def from_environment(cls) -> Layout:
        return cls(os.environ.get("GPUCTL_WORKSPACE") or "/workspace")

    def job(self, job_id: str) -> str:
        return f"{self.root}/jobs/{job_id}"

    def request(self, job_id: str) -> str:
        return f"{self.job(job_id)}/request.json"

    def events(self, job_id: str) -> str:
        return f"{self.job(job_id)}/events.ndjson"

    def pending(self, workload: str) -> str:
        """One empty file per accepted job without a final event: what a restart must look at."""
        return f"{self.run}/{workload}.pending"

    def beside_socket(self, workload: str, ending: str) -> str:
        return f"{self.run}/{workload}.{ending}"

    def make_run(self) -> None:
        os.makedirs(self.run, mode=0o700, exist_ok=True)


def is_id(text: object) -> bool:
    """Whether `text` may name a job: ^[0-9A-Za-z_-]{1,64}$."""
    return (
        isinstance(text, str)
        and 0 < len(text) <= ID_LENGTH_LIMIT
        and ID_CHARACTERS.issuperset(text)
    )


def workloads() -> list[str]:
    """The workloads that these scripts have a handler for."""
    return sorted(
        name for name in os.listdir(SCRIPTS) if os.path.isfile(f"{SCRIPTS}/{name}/handler.py")
    )


def write_whole(path: str, data: bytes) -> None:
    """Writes a file so that readers see all of it or none. Raises OSError."""
    part = f"{path}.{os.getpid()}.part"
    try:
        file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            write_all(file, data)
        finally:
            os.close(file)
        os.replace(part, path)
    except OSError:
        if os.path.exists(part):
            os.unlink(part)
        raise


def write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
