"""One Docker engine for the session, and a person who uses it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.conftest import Person
from tests.support.docker_engine import DockerEngine, require_docker, running_engine


@pytest.fixture(scope="session")
def engine() -> Iterator[DockerEngine]:
    require_docker()
    with running_engine() as found:
        yield found


@pytest.fixture
def builder(private_home: Path, engine: DockerEngine) -> Person:
    """Somebody whose registry is the open one, and whose engine is the session's."""
    one = Person(private_home)
    one.environ |= {
        **engine.environ,
        "GPUCTL_DOCKERHUB__REGISTRY": engine.registry,
        "DOCKER_HUB_USERNAME": "me",
    }
    return one
