"""What a handler may say and where it may write."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from worker import report


class Recorder:
    """A bound job and what was said in its name."""

    def __init__(self, workspace: Path) -> None:
        self.said: list[tuple[str, dict[str, Any]]] = []
        self.is_cancelled = False
        self.context = report.JobContext(
            "J1", workspace / "jobs/J1", workspace, lambda: self.is_cancelled
        )

    def __call__(self, kind: str, fields: dict[str, Any]) -> None:
        self.said.append((kind, fields))


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Recorder]:
    recorder = Recorder(tmp_path / "w")
    recorder.context.workspace.mkdir()
    with report.bind(recorder, recorder.context):
        yield recorder


def test_an_artifact_appears_whole_hashed_and_with_its_extra_fields(job: Recorder) -> None:
    with report.write_artifact("a/b.txt", "text/plain", seed=3) as part:
        part.write_bytes(b"hello")
        assert list(report.output_dir().rglob("b.txt")) == []
    path = job.context.directory / "outputs/a/b.txt"
    assert job.said == [
        (
            "artifact",
            {
                "seed": 3,
                "path": str(path),
                "name": "b.txt",
                "bytes": 5,
                "sha256": hashlib.sha256(b"hello").hexdigest(),
                "media_type": "text/plain",
            },
        )
    ]
    assert [each.name for each in path.parent.iterdir()] == ["b.txt"]


def test_an_artifact_that_fails_leaves_nothing_and_says_nothing(job: Recorder) -> None:
    def write_half() -> None:
        with report.write_artifact("a.txt", "text/plain") as part:
            part.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert list(report.output_dir().iterdir()) == []
    assert job.said == []


@pytest.mark.usefixtures("job")
def test_a_full_disk_is_named_wherever_it_is_met(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(report.Failure) as real, report.write_artifact("a", "x/y"):
        Path("/dev/full").write_bytes(b"x")
    monkeypatch.setenv("GPUCTL_SIM_DISK_FULL", "1")
    with pytest.raises(report.Failure) as simulated, report.write_artifact("a", "x/y"):
        pytest.fail("the block must not run")
    assert [real.value.code, simulated.value.code] == ["disk_full", "disk_full"]
    assert real.value.remedy


@pytest.mark.usefixtures("job")
@pytest.mark.parametrize(
    "path", ["", "/etc/passwd", "../x", "a/../../x", "a/..", "..", "out/x", "a\0b"]
)
def test_a_path_that_leads_outside_is_refused(path: str) -> None:
    (report.workspace() / "out").symlink_to("/tmp")
    with pytest.raises(report.Failure) as failure:
        report.inside_workspace(path)
    assert failure.value.code == "bad_input"


def test_a_path_inside_is_given_back_absolute(job: Recorder) -> None:
    (job.context.workspace / "inputs").mkdir()
    (job.context.workspace / "here").symlink_to("inputs")
    wanted = job.context.workspace.resolve() / "inputs/a.png"
    assert report.inside_workspace("inputs/a.png") == wanted
    assert report.inside_workspace("here/a.png") == wanted


def test_an_artifact_name_cannot_leave_the_outputs(job: Recorder) -> None:
    with pytest.raises(report.Failure), report.write_artifact("../../../x", "text/plain"):
        pytest.fail("the block must not run")
    assert job.said == []


def test_progress_and_the_explicit_check_see_a_cancellation(job: Recorder) -> None:
    report.progress("step", 1, 4)
    job.is_cancelled = True
    with pytest.raises(report.Cancelled):
        report.check_cancelled()
    with pytest.raises(report.Cancelled):
        report.progress("step", 2, 4)
    assert job.said == [("progress", {"stage": "step", "done": 1, "total": 4})]


def test_threads_of_a_pipeline_report_for_the_same_job(job: Recorder) -> None:
    thread = threading.Thread(target=report.loading, args=("download", "x", 1, 2))
    thread.start()
    thread.join()
    fields = {"stage": "download", "message": "x", "done": 1, "total": 2}
    assert job.said == [("loading", fields)]


def test_without_a_job_reports_go_nowhere_and_paths_are_refused() -> None:
    report.progress("step", 1)
    report.log("nobody hears this")
    with pytest.raises(RuntimeError, match="no job is bound"):
        report.output_dir()


def test_an_unknown_code_is_a_plain_failure() -> None:
    assert report.Failure("tired", "no").code == "failed"
