"""A simulator of a test's own, which is always ended and never leaves a process behind."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import httpx
import pytest

from gpuctl.models import Json
from gpuctl.sim import launcher, processes
from gpuctl.sim.launcher import Simulator

FAST = {"provisioning_s": "0.02", "starting_s": "0.02"}
WAIT_S = 20.0
Found = TypeVar("Found")


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[Simulator]:
    with running_simulator(tmp_path / "sim") as found:
        yield found


@contextmanager
def running_simulator(folder: Path, **settings: str) -> Iterator[Simulator]:
    """Boots take 40 ms in all unless `settings` say otherwise."""
    try:
        yield launcher.ensure(folder, settings={**FAST, **settings})
    finally:
        launcher.stop(folder)
        left = processes.with_marker(processes.FOLDER_MARKER, str(folder.resolve()))
        assert left == [], f"pod processes were left behind: {left}"


def api_client(simulator: Simulator, transport: httpx.BaseTransport | None = None) -> httpx.Client:
    """Speaks to /v2 with the simulator's key."""
    return httpx.Client(
        base_url=simulator.api_url,
        headers={"Authorization": f"Bearer {simulator.api_key.reveal()}"},
        transport=transport,
        timeout=30,
    )


def order(name: str = "gpuctl-test", **changes: object) -> Json:
    """A create body that is accepted as it is."""
    body: Json = {
        "name": name,
        "image": "runpod/pytorch:1.0",
        "gpu": {"id": "NVIDIA GeForce RTX 4090", "count": 1},
        "ports": ["22/tcp"],
        "disk": 20,
        **changes,
    }
    return body


def until(look: Callable[[], Found | None], *, limit_s: float = WAIT_S) -> Found:
    """Polls until `look` gives something true; fails the test after the limit."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.01)
    raise AssertionError("waited in vain")


def until_running(client: httpx.Client, pod_id: str) -> Json:
    def look() -> Json | None:
        pod: Json = client.get(f"/pods/{pod_id}").json()
        return pod if pod.get("status") == "RUNNING" else None

    return until(look)


def a_running_pod(client: httpx.Client, name: str = "gpuctl-test", **changes: object) -> Json:
    answer = client.post("/pods", json=order(name, **changes))
    assert answer.status_code == 201, answer.text
    return until_running(client, answer.json()["id"])
