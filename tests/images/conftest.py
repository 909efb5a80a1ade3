"""One Docker engine for the session, and a person who uses it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.conftest import Person
from tests.support.docker_engine import (
    DockerEngine,
    python_archive,
    require_docker,
    running_engine,
)


@pytest.fixture(scope="session")
def engine() -> Iterator[DockerEngine]:
    require_docker()
    with running_engine() as found:
        yield found


@pytest.fixture(scope="session")
def python_base(engine: DockerEngine) -> str:
    """A base on which the service of an image can run."""
    if not Path("/usr/bin/python3.11").exists():
        pytest.skip("Debian's python3.11 is not installed")
    return engine.take_in(python_archive(engine.folder), "gpuctl-test/python:1")


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
