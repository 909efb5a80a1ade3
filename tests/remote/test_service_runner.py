"""Jobs over HTTP, with the real service at the other end."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gpuctl.clients.service_api import ServiceApi
from gpuctl.errors import (
    ConnectionFailed,
    CredentialsError,
    JobFailed,
    NotFound,
    TransferFailed,
    UsageError,
)
from gpuctl.models import Artifact, Job, Json, Secret
from gpuctl.remote.service_runner import ServiceRunner
from tests.support.comfyui_films import need_ffmpeg, still
from tests.support.comfyui_service import Service, service

pytestmark = pytest.mark.ffmpeg


@dataclass
class Said:
    """A report that remembers."""

    steps: list[str] = field(default_factory=list)
    sent: list[float] = field(default_factory=list)

    def step(self, text: str) -> None:
        self.steps.append(text)

    def note(self, text: str) -> None: ...
    def warn(self, text: str) -> None: ...
    def progress(self, stage: str, done: float, total: float | None) -> None:
        self.sent.append(done)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    need_ffmpeg()
    with service(tmp_path_factory.mktemp("w"), SERVICE_TOKEN="right") as found:
        found.until(lambda: found.call("GET", "/health")[0] == 200)
        yield found


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture
def runner(video: Service, said: Said) -> Iterator[ServiceRunner]:
    api = ServiceApi(f"http://127.0.0.1:{video.port}", Secret("right"))
    yield ServiceRunner(api, said)
    api.close()


def job(job_id: str, source: Path, **more: Json | int | str) -> Job:
    name = f"inputs/{hashlib.sha256(source.read_bytes()).hexdigest()}.png"
    asked = {"image_path": name, "width": 128, "height": 128, "frames": 5, "prompt": "x", **more}
    return Job(job_id, "video", {"client": "gpuctl", **asked}, {name: source})


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return still(tmp_path / "a.png", (64, 64), (1, 100, 1))


def test_a_job_is_sent_followed_and_its_film_fetched_whole(
    runner: ServiceRunner, said: Said, picture: Path, tmp_path: Path
) -> None:
    events = list(runner.submit(job("S1", picture)))
    assert events[0].kind == "accepted"
    assert events[-1].kind == "done"
    assert "v" not in events[-1].data
    assert said.steps == ["sending a.png"]
    made = next(event.data for event in events if event.kind == "artifact")
    artifact = Artifact(made["path"], made["bytes"], made["sha256"], made["media_type"])
    target, seen = tmp_path / "film.mp4", list[int]()
    # What an earlier try left is gone on with.
    content = runner_bytes(runner, artifact, tmp_path)
    (tmp_path / "film.mp4.part").write_bytes(content[:1000])
    runner.fetch(artifact, target, on_bytes=lambda done, total: seen.append(done))
    assert target.read_bytes() == content
    assert seen[0] > 1000
    assert not (tmp_path / "film.mp4.part").exists()
    replayed = list(runner.attach("video", "S1", from_seq=events[-2].seq))
    assert [event.kind for event in replayed] == ["done"]


def runner_bytes(runner: ServiceRunner, artifact: Artifact, folder: Path) -> bytes:
    runner.fetch(artifact, folder / "whole.mp4")
    return (folder / "whole.mp4").read_bytes()


def test_the_same_picture_travels_once(runner: ServiceRunner, said: Said, tmp_path: Path) -> None:
    source = still(tmp_path / "twice.png", (64, 64), (3, 3, 99))
    assert list(runner.submit(job("T1", source)))[-1].kind == "done"
    assert list(runner.submit(job("T2", source)))[-1].kind == "done"
    assert said.steps == ["sending twice.png"]


def test_a_damaged_part_is_thrown_away_and_said(
    runner: ServiceRunner, picture: Path, tmp_path: Path
) -> None:
    events = list(runner.submit(job("D1", picture)))
    made = next(event.data for event in events if event.kind == "artifact")
    artifact = Artifact(made["path"], made["bytes"], made["sha256"], made["media_type"])
    (tmp_path / "d.mp4.part").write_bytes(b"x" * 500)
    with pytest.raises(TransferFailed):
        runner.fetch(artifact, tmp_path / "d.mp4")
    runner.fetch(artifact, tmp_path / "d.mp4")
    assert (tmp_path / "d.mp4").stat().st_size == artifact.bytes


def test_what_the_service_refuses_comes_as_the_jobs_own_error(
    runner: ServiceRunner, picture: Path
) -> None:
    [event] = runner.submit(job("R1", picture, workflow={"nodes": []}))
    assert (event.kind, event.data["code"]) == ("error", "bad_input")
    assert "Export (API)" in event.data["remedy"]


def test_jobs_status_and_cancel_answer_for_known_and_unknown_ids(
    runner: ServiceRunner, picture: Path
) -> None:
    assert list(runner.submit(job("C1", picture)))[-1].kind == "done"
    assert "C1" in {row["id"] for row in runner.jobs("video")}
    assert runner.cancel("video", "C1") is False
    assert runner.cancel("video", "nobody") is False
    assert runner.status("video")["comfyui"]["reachable"] is True
    with pytest.raises(JobFailed):
        list(runner.attach("video", "nobody"))
    with pytest.raises(NotFound):
        runner.fetch(Artifact("/w/jobs/C1/outputs/none.mp4", 1, "0" * 64, ""), Path("none.mp4"))


@pytest.mark.parametrize("token", [None, Secret("wrong")])
def test_a_token_that_is_missing_or_wrong_is_named_so(
    token: Secret | None, video: Service, said: Said
) -> None:
    api = ServiceApi(f"http://127.0.0.1:{video.port}", token)
    with pytest.raises(CredentialsError, match="token") as refused:
        ServiceRunner(api, said).status("video")
    assert "video.token" in str(refused.value.hint)
    api.close()


def test_a_token_is_never_sent_in_the_clear() -> None:
    with pytest.raises(UsageError, match="not sent"):
        ServiceApi("http://pod.example:8080", Secret("right"))


def test_nobody_at_the_other_end_is_a_lost_connection(said: Said) -> None:
    api = ServiceApi("http://127.0.0.1:9")
    with pytest.raises(ConnectionFailed):
        ServiceRunner(api, said).status("video")
    api.close()


def test_a_service_that_dies_while_it_is_followed_is_a_lost_connection_and_the_job_goes_on(
    tmp_path: Path, said: Said, picture: Path
) -> None:
    need_ffmpeg()
    with service(tmp_path / "w", GPUCTL_SIM_STEP_S="0.2") as found:
        api = ServiceApi(f"http://127.0.0.1:{found.port}")
        runner = ServiceRunner(api, said)
        seen = []
        with pytest.raises(ConnectionFailed):  # noqa: PT012  the death is in the middle
            for event in runner.submit(job("K1", picture, preset="hybrid")):
                seen.append(event.seq)
                if event.data.get("stage") == "denoise" and event.data.get("done"):
                    found.kill()
        found.start()
        rest = list(runner.attach("video", "K1", from_seq=seen[-1]))
        assert rest[-1].kind == "done"
        assert [*seen, *(event.seq for event in rest)] == list(range(1, rest[-1].seq + 1))
        api.close()
