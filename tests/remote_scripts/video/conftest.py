"""Two servers for the whole session, an old and a new one, and a way to run jobs against them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.comfyui_films import need_ffmpeg, still
from tests.support.comfyui_server import REMOTE_SCRIPTS, ComfyServer, comfyui

if str(REMOTE_SCRIPTS) not in sys.path:
    sys.path.insert(0, str(REMOTE_SCRIPTS))

Json = dict[str, Any]


@dataclass
class Outcome:
    """How a job ended, and every event on the way."""

    kind: str
    fields: Json
    events: list[tuple[str, Json]] = field(default_factory=list)

    def of(self, kind: str) -> list[Json]:
        return [fields for name, fields in self.events if name == kind]

    def logs(self) -> str:
        return "\n".join(row["message"] for row in self.of("log"))

    @property
    def film(self) -> Path:
        return Path(self.of("artifact")[0]["path"])


Run = Callable[..., Outcome]


@pytest.fixture(scope="session")
def _servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ComfyServer]]:
    need_ffmpeg()
    root = tmp_path_factory.mktemp("comfyui")
    with comfyui(root / "old", "old", "--previews") as old, comfyui(root / "new", "new") as new:
        yield {"old": old, "new": new}


@pytest.fixture(params=["old", "new"])
def comfy(request: pytest.FixtureRequest, _servers: dict[str, ComfyServer]) -> ComfyServer:
    """The same test against both generations of servers."""
    return _fresh(_servers[request.param])


@pytest.fixture
def new_comfy(_servers: dict[str, ComfyServer]) -> ComfyServer:
    return _fresh(_servers["new"])


@pytest.fixture
def old_comfy(_servers: dict[str, ComfyServer]) -> ComfyServer:
    return _fresh(_servers["old"])


def _fresh(server: ComfyServer) -> ComfyServer:
    server.fault(hold=None, fail=None, truncate=None)
    return server


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With a still and an end image in it. Nothing is fetched from anywhere."""
    folder = tmp_path / "workspace"
    still(folder / "inputs/still.png", (300, 400), (200, 40, 40))
    still(folder / "inputs/end.png", (300, 400), (40, 40, 200))
    monkeypatch.setenv("GPUCTL_WORKSPACE", str(folder))
    monkeypatch.setenv("MODEL_VOLUME", str(folder))
    monkeypatch.setenv("GPUCTL_ENGINE", "sim")
    return folder


@pytest.fixture
def run(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run(server, input, …)`: the handler in this process, as the engine calls it."""
    from worker.engine import outcome
    from worker.report import JobContext

    def go(
        server: ComfyServer,
        given: Json,
        job_id: str = "job",
        *,
        is_cancelled: Callable[[], bool] = lambda: False,
        on_event: Callable[[str, Json], None] = lambda kind, fields: None,
    ) -> Outcome:
        monkeypatch.setenv("SERVER_ADDRESS", server.address)
        events: list[tuple[str, Json]] = []

        def sink(kind: str, fields: Json) -> None:
            events.append((kind, fields))
            on_event(kind, fields)

        context = JobContext(job_id, workspace / "jobs" / job_id, workspace, is_cancelled)
        kind, fields = outcome("video", {"id": job_id, "input": given}, sink, context)
        return Outcome(kind, fields, events)

    return go


SMALL: Json = {
    "image_path": "inputs/still.png",
    "prompt": "the tide comes in",
    "width": 128,
    "height": 160,
    "length": 9,
    "seed": 7,
}


@pytest.fixture
def small() -> Json:
    return dict(SMALL)
