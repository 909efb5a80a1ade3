"""A person at a terminal of their own: the real command, a private home, a simulator that ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gpuctl.sim import launcher, processes
from gpuctl.sim.wire import RECORD

LIMIT_S = 60.0


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    stdout: str
    stderr: str

    @property
    def envelope(self) -> dict[str, Any]:
        """The one document on stdout."""
        document: dict[str, Any] = json.loads(self.stdout)
        assert document["schema"] == "gpuctl/1"
        assert document["ok"] is (self.code == 0)
        return document

    @property
    def data(self) -> dict[str, Any]:
        assert self.code == 0, self.stderr + self.stdout
        data: dict[str, Any] = self.envelope["data"]
        return data

    @property
    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = self.envelope["error"]
        return error


class Person:
    """Types commands. `environ` is theirs; nothing is inherited but PATH."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.folder = home / "project"
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "XDG_STATE_HOME": str(home / "s"),
            "XDG_CACHE_HOME": str(home / "c"),
            "XDG_CONFIG_HOME": str(home / "g"),
            "NO_COLOR": "1",
            "GPUCTL_DEPLOY__CANARY": "false",  # test_canary.py has it on; elsewhere it costs time
            "GPUCTL_SIM__LOAD_S": "0.05",
            "GPUCTL_SIM__STEP_S": "0.005",
            **({RECORD: os.environ[RECORD]} if RECORD in os.environ else {}),
        }

    @property
    def sim_folder(self) -> Path:
        return self.home / "s" / "gpuctl" / "sim"

    def start(self, *argv: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "gpuctl", *argv],
            cwd=self.folder,
            env=self.environ,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def types(self, *argv: str, typed: str | None = None, limit_s: float = LIMIT_S) -> Done:
        process = self.start(*argv, stdin=subprocess.DEVNULL if typed is None else subprocess.PIPE)
        try:
            out, err = process.communicate(typed, timeout=limit_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)
            out, err = process.communicate()
            pytest.fail(f"gpuctl {' '.join(argv)} took over {limit_s:g} s\n{out}\n{err}")
        return Done(process.returncode, out, err)

    def simulates(self, *argv: str, typed: str | None = None) -> Done:
        """The same command with --sim and --json."""
        return self.types("--sim", "--json", *argv, typed=typed)


@pytest.fixture
def person(private_home: Path) -> Iterator[Person]:
    one = Person(private_home)
    try:
        yield one
    finally:
        if one.sim_folder.exists():
            launcher.reset(one.sim_folder)
            left = processes.with_marker(launcher.FOLDER_MARKER, str(one.sim_folder.resolve()))
            assert left == [], f"pod processes were left behind: {left}"


def until(look: Callable[[], object], what: str, limit_s: float = 30.0) -> None:
    """Polls until `look` is true; fails the test after the limit."""
    deadline = time.monotonic() + limit_s
    while not look():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.01)
