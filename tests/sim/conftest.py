"""One simulator for the tests that only ask; those that break it start their own."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from gpuctl.sim.launcher import Simulator, clear_faults
from tests.sim.ssh_client import Login, new_login
from tests.support.simulator import api_client, running_simulator


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    with running_simulator(tmp_path_factory.mktemp("simulator") / "sim") as found:
        yield found


@pytest.fixture
def client(shared: Simulator) -> Iterator[httpx.Client]:
    """Every pod and fault a test made is gone after it."""
    with api_client(shared) as found:
        yield found
        clear_faults(shared)
        for pod in found.get("/pods").json()["pods"]:
            found.delete(f"/pods/{pod['id']}")


@pytest.fixture(scope="session")
def login(tmp_path_factory: pytest.TempPathFactory) -> Login:
    return new_login(tmp_path_factory.mktemp("login"))
