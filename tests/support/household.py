"""A person with a rented simulated machine, shared by the tests of one module."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gpuctl.sim import launcher, processes
from tests.journeys.conftest import Person

LIMIT_S = 60.0


@dataclass(frozen=True)
class Raw:
    """What a command left, as bytes."""

    code: int
    stdout: bytes
    stderr: bytes

    @property
    def said(self) -> str:
        return self.stderr.decode("utf-8", "replace")


class Household(Person):
    """Types in bytes where text would not do."""

    @property
    def workspace(self) -> Path:
        """The workspace of the one pod there is."""
        [pod] = (self.sim_folder / "pods").iterdir()
        return pod / "workspace"

    def runs(self, *argv: str | bytes, stdin: bytes | None = None, limit_s: float = LIMIT_S) -> Raw:
        done = subprocess.run(
            [sys.executable, "-m", "gpuctl", *argv],
            cwd=self.folder,
            env=self.environ,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            timeout=limit_s,
        )
        return Raw(done.returncode, done.stdout, done.stderr)

    def fault(self, kind: str, *more: str) -> None:
        assert self.simulates("sim", "fault", kind, *more).code == 0


@contextmanager
def household(home: Path, *, machine: bool = True) -> Iterator[Household]:
    """With a running pod called flux, unless `machine` says otherwise; always cleared away."""
    (home / "project").mkdir(parents=True)
    one = Household(home)
    try:
        if machine:
            assert one.simulates("deploy", "flux").code == 0
        yield one
    finally:
        if one.sim_folder.exists():
            launcher.reset(one.sim_folder)
            left = processes.with_marker(processes.FOLDER_MARKER, str(one.sim_folder.resolve()))
            assert left == [], f"pod processes were left behind: {left}"


def ended(process: subprocess.Popen[str], number: signal.Signals = signal.SIGINT) -> Raw:
    """Sends a signal and gives what the command left."""
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    return Raw(process.returncode, out.encode(), err.encode())


def read_until(process: subprocess.Popen[str], text: str, limit_s: float = 20.0) -> str:
    """Lines of stdout up to the first that holds `text`."""
    assert process.stdout is not None
    deadline = time.monotonic() + limit_s
    seen = ""
    while time.monotonic() < deadline:
        line = process.stdout.readline()
        seen += line
        if text in line:
            return line
        if not line:
            break
    raise AssertionError(f"{text!r} did not come: {seen!r}")
