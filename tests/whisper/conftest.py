"""The services that the tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.whisper_service import (
    Service,
    running,
    tiny_whisper_model,
    whisper_python,
)

__all__ = ["simulated", "tiny_whisper_model", "whisper_python"]


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A stand-in with places for all."""
    folder = tmp_path_factory.mktemp("simulated")
    with running(folder, MAX_CLIENTS="9", ENABLE_REST="1") as service:
        yield service
