"""Each test has a machine of its own, and leaves no process behind."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.remote_scripts.worker.machine import REMOTE_SCRIPTS, Worker, kill, ship

if str(REMOTE_SCRIPTS) not in sys.path:
    sys.path.insert(0, str(REMOTE_SCRIPTS))


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    """A fresh machine. Whatever runs for its workspace is ended with the test."""
    workspace = tmp_path / "w"
    workspace.mkdir()
    machine = Worker(ship(tmp_path / "scripts"), workspace)
    yield machine
    for pid in machine.processes():
        try:
            kill(pid)
        except ProcessLookupError:
            continue
