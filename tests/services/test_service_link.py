"""The link to a service: started where nothing is, waited for where an image still starts it."""

from __future__ import annotations

import hashlib
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gpuctl.errors import JobFailed, TimedOut, UsageError
from gpuctl.models import Job, Machine
from gpuctl.remote.local import LocalShell
from gpuctl.services.service_link import ServiceLink
from tests.support.comfyui_films import need_ffmpeg, probed, still
from tests.support.comfyui_service import end_all

MACHINE = Machine("local", "this computer", "host", "RUNNING")


@dataclass
class Said:
    """A report that remembers."""

    steps: list[str] = field(default_factory=list)

    def step(self, text: str) -> None:
        self.steps.append(text)

    def note(self, text: str) -> None: ...
    def warn(self, text: str) -> None: ...
    def progress(self, stage: str, done: float, total: float | None) -> None: ...


@dataclass
class Here:
    """A link to this computer, in the place of one over ssh."""

    machine: Machine = MACHINE
    opened: int = 0

    def dial(self, workload: str) -> None: ...

    def open(self) -> LocalShell:
        return LocalShell()

    def reopen(self) -> None:
        self.opened += 1

    def close(self) -> None: ...


@dataclass
class Clock:
    """Real time, but a pause is what the test makes of it."""

    pause: Callable[[], None]
    at: float = 0.0

    def now(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds
        self.pause()


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "w"
    (folder / "run").mkdir(parents=True)
    yield folder
    end_all(folder)


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        found: int = free.getsockname()[1]
    monkeypatch.setenv("GPUCTL_SIM_PORTS", f"8080:{found}")
    monkeypatch.setenv("GPUCTL_ENGINE", "sim")
    # As in a simulated pod: python3 is the one that gpuctl runs with.
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    return found


def link(workspace: Path, port: int, said: Said, pause: Callable[[], None]) -> ServiceLink:
    return ServiceLink(
        MACHINE,
        Here(),  # type: ignore[arg-type]  the part of a MachineLink that is used
        workload="video",
        port=port,
        workspace=str(workspace),
        clock=Clock(pause),
        limit_s=60,
        report=said,
    )


@pytest.mark.ffmpeg
def test_where_no_service_is_one_is_started_and_makes_a_film(
    workspace: Path, port: int, tmp_path: Path
) -> None:
    need_ffmpeg()
    said = Said()
    picture = still(tmp_path / "a.png", (64, 64), (5, 5, 5))
    name = f"inputs/{hashlib.sha256(picture.read_bytes()).hexdigest()}.png"
    asked = {"image_path": name, "prompt": "x", "width": 128, "height": 128, "frames": 5}
    job = Job("L1", "video", asked, {name: picture})
    with link(workspace, port, said, lambda: time.sleep(0.05)) as service:
        service.dial("video")
        events = list(service.runner.submit(job))
        assert events[-1].kind == "done", events[-1]
        service.reopen()
        assert [row["id"] for row in service.runner.jobs("video")] == ["L1"]
    assert "starting the video service on this computer" in said.steps
    assert probed(workspace / "jobs/L1/outputs/0-0.mp4")["frames"] == 5


def test_a_start_that_is_under_way_is_waited_for_and_its_failure_told(
    workspace: Path, port: int
) -> None:
    said = Said()
    (workspace / "run/video.starting").write_text("fetching wan_2.1_vae.safetensors: 1 of 242 MB\n")

    def fails() -> None:
        (workspace / "run/video.starting").unlink()
        (workspace / "run/video.failed").write_text("the models did not come: no space left\n")

    with (
        link(workspace, port, said, fails) as service,
        pytest.raises(JobFailed, match="no space left"),
    ):
        _ = service.runner
    assert said.steps == [
        "this computer is starting: fetching wan_2.1_vae.safetensors: 1 of 242 MB"
    ], "nothing was started beside it"


def test_a_start_that_never_ends_is_given_up_after_its_limit(workspace: Path, port: int) -> None:
    (workspace / "run/video.starting").write_text("ComfyUI is starting\n")
    with (
        link(workspace, port, Said(), lambda: None) as service,
        pytest.raises(TimedOut, match="ComfyUI is starting"),
    ):
        _ = service.runner


def test_the_proxy_is_used_with_a_token_alone() -> None:
    from gpuctl.console import Console, Options
    from gpuctl.context import Context
    from gpuctl.workloads import video

    pod = Machine("abc123", "gpuctl-video-x", "runpod", "RUNNING", workload="video")
    environ = {"GPUCTL_VIDEO__VIA": "proxy"}
    with pytest.raises(UsageError, match="token"):
        Context(Console(Options()), environ=environ).service_link(pod)
    told = Context(Console(Options()), environ={**environ, "SERVICE_TOKEN": "t"}).job_link(
        pod, "video"
    )
    assert isinstance(told, ServiceLink)
    assert video.proxy_url("abc123") == "https://abc123-8080.proxy.runpod.net"
