"""Jobs for the sd handler: in this process, against a stand-in that is a process of its own."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.a1111_server import REMOTE_SCRIPTS, StandIn, stand_in

if str(REMOTE_SCRIPTS) not in sys.path:
    sys.path.insert(0, str(REMOTE_SCRIPTS))


@dataclass
class Outcome:
    """What a job left behind. `failure` has code, message and remedy."""

    events: list[dict[str, Any]]
    result: dict[str, Any] = field(default_factory=dict)
    failure: dict[str, str] = field(default_factory=dict)

    @property
    def artifacts(self) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == "artifact"]

    def files(self) -> list[bytes]:
        return [Path(artifact["path"]).read_bytes() for artifact in self.artifacts]

    def progress(self, stage: str) -> list[dict[str, Any]]:
        return [e for e in self.events if e["event"] == "progress" and e["stage"] == stage]

    def said(self) -> str:
        return "\n".join(e["message"] for e in self.events if e["event"] == "log")


class Driver:
    """Runs jobs, one at a time, against one WebUI."""

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self.events: list[dict[str, Any]] = []
        self.cancelled = threading.Event()
        self._jobs = 0

    def run(self, **given: Any) -> Outcome:
        from sd.handler import handler
        from worker import report

        self._jobs += 1
        self.events = []
        outcome = Outcome(self.events)
        folder = self.workspace / f"jobs/{self._jobs}"
        context = report.JobContext("job", folder, self.workspace, self.cancelled.is_set)

        def sink(kind: str, more: dict[str, Any]) -> None:
            self.events.append({"event": kind, **more})

        try:
            with report.bind(sink, context):
                outcome.result = handler({"id": "job", "input": given})
        except report.Failure as failure:
            named = {"code": failure.code, "message": failure.message, "remedy": failure.remedy}
            outcome.failure = named
        return outcome

    def paint(self, **given: Any) -> Outcome:
        """A small, quick txt2img for gpuctl, unless said otherwise."""
        small = {"caller": "gpuctl", "width": 64, "height": 64, "steps": 2, "seed": 7}
        return self.run(**{"prompt": "a portrait", **small, **given})


@pytest.fixture(scope="session")
def shared_webui() -> Iterator[StandIn]:
    """One for every test that leaves it as it was."""
    with stand_in() as server:
        yield server


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared_webui: StandIn) -> Driver:
    """Jobs against the shared WebUI."""
    shared_webui.faults()
    return _driver(tmp_path, monkeypatch, shared_webui)


@pytest.fixture
def against(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[StandIn], Driver]:
    """Jobs against a WebUI of the test's own."""

    def make(server: StandIn) -> Driver:
        return _driver(tmp_path, monkeypatch, server)

    return make


def _driver(folder: Path, monkeypatch: pytest.MonkeyPatch, server: StandIn) -> Driver:
    monkeypatch.setenv("GPUCTL_SD_WEBUI_URL", server.url)
    workspace = folder / "workspace"
    workspace.mkdir(exist_ok=True)
    return Driver(workspace)
