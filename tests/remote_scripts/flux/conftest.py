"""Jobs for the flux handler: simulated ones in this process, real ones in a Python with torch."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.remote_scripts.flux.hub import Hub
from tests.support.flux_python import (
    REPOSITORY,
    TinyFlux,
    environment,
    flux_python,
    tiny_flux_model,
)

__all__ = ["flux_python", "tiny_flux_model"]

_REMOTE_SCRIPTS = str(REPOSITORY / "remote_scripts")
if _REMOTE_SCRIPTS not in sys.path:
    sys.path.insert(0, _REMOTE_SCRIPTS)

MODEL = {
    "name": "flux-dev",
    "title": "FLUX.1 [dev]",
    "repo": "black-forest-labs/FLUX.1-dev",
    "revision": None,
    "pipeline": "FluxPipeline",
    "img2img": "FluxImg2ImgPipeline",
    "text_tokens": 512,
    "clip_tokens": 77,
    "cache": None,
    "compile": False,
    "gated": True,
    "licence": "FLUX.1-dev Non-Commercial",
    "licence_url": "https://huggingface.co/black-forest-labs/FLUX.1-dev",
    "vram_gb": 34,
}


def an_input(**changes: Any) -> dict[str, Any]:
    """A complete job input, 128 pixels square; `model` changes are laid over MODEL."""
    model = {**MODEL, **changes.pop("model", {})}
    given = {"prompt": "a red fox in snow", "model": model, "width": 128, "height": 128}
    return {**given, "steps": 4, "guidance": 3.5, "seed": 7, "count": 1, "format": "png", **changes}


@dataclass
class Outcome:
    """What a job left behind. `failure` has code, message and remedy."""

    events: list[dict[str, Any]]
    metrics: dict[str, Any] = field(default_factory=dict)
    failure: dict[str, str] = field(default_factory=dict)

    @property
    def artifacts(self) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == "artifact"]

    @property
    def digest(self) -> str:
        (artifact,) = self.artifacts
        return str(artifact["sha256"])

    def stages(self, kind: str = "progress") -> list[str]:
        return [event["stage"] for event in self.events if event["event"] == kind]

    def said(self) -> str:
        lines = [event["message"] for event in self.events if event["event"] == "log"]
        return "\n".join(lines)


class Driver:
    """A process that runs real jobs, one at a time, its pipeline resident between them."""

    def __init__(self, process: subprocess.Popen[str], tiny: TinyFlux, workspace: Path) -> None:
        self.workspace = workspace
        self.tiny = tiny
        self._process = process
        self._jobs = 0
        self.greeting = self._answer()

    def run(
        self, *, cancel_at_step: int | None = None, sabotage: str | None = None, **changes: Any
    ) -> Outcome:
        """One job on the tiny model."""
        self._jobs += 1
        tiny = {"name": "tiny", "title": "Tiny FLUX", "repo": str(self.tiny.model), "vram_gb": 0.1}
        changes = {"width": 64, "height": 64, "steps": 3, **changes}
        changes["model"] = {**tiny, **changes.get("model", {})}
        order = {
            "input": an_input(**changes),
            "folder": str(self.workspace / f"jobs/{self._jobs}"),
            "workspace": str(self.workspace),
            "cancel_at_step": cancel_at_step,
            "sabotage": sabotage,
        }
        assert self._process.stdin
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        assert "crash" not in answer, answer["crash"]
        return Outcome(**answer)

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, "the driver has ended; see its stderr"
        answer: dict[str, Any] = json.loads(line)
        return answer


@pytest.fixture(scope="session")
def hub(tiny_flux_model: TinyFlux) -> Iterator[Hub]:
    """A model hub on loopback that has the tiny pipeline."""
    with Hub(tiny_flux_model.model) as hub:
        yield hub


@pytest.fixture(scope="session")
def driver(
    flux_python: Path, tiny_flux_model: TinyFlux, hub: Hub, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Driver]:
    """The process for all real jobs of the session; ends with it."""
    workspace = tmp_path_factory.mktemp("workspace")
    (workspace / "loras").mkdir()
    (workspace / "loras/tiny.safetensors").write_bytes(tiny_flux_model.lora.read_bytes())
    script = Path(__file__).with_name("driver.py")
    with (workspace / "stderr").open("w") as stderr:
        process = subprocess.Popen(
            [flux_python, script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={**environment(workspace), "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": hub.url},
        )
        with process:
            yield Driver(process, tiny_flux_model, workspace)
            assert process.stdin
            process.stdin.close()


@pytest.fixture
def simulate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a job through the handler in this process, with the simulated engine."""
    from flux.handler import handler
    from worker import report

    monkeypatch.setenv("GPUCTL_ENGINE", "sim")
    workspace = tmp_path / "workspace"
    workspace.mkdir()

    def run(*, is_cancelled: Any = None, **changes: Any) -> Outcome:
        events: list[dict[str, Any]] = []
        folder = workspace / "jobs" / str(len(list(workspace.glob("jobs/*"))))
        context = report.JobContext(
            "job", folder, workspace, (lambda: is_cancelled(events)) if is_cancelled else bool
        )
        outcome = Outcome(events)
        try:
            with report.bind(lambda kind, more: events.append({"event": kind, **more}), context):
                outcome.metrics = handler({"id": "job", "input": an_input(**changes)})
        except report.Failure as failure:
            outcome.failure = {
                "code": failure.code,
                "message": failure.message,
                "remedy": failure.remedy,
            }
        return outcome

    run.workspace = workspace  # type: ignore[attr-defined]
    return run
