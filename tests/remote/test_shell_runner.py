"""Jobs over every shell, with the real worker and its simulated engine at the other end."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gpuctl.errors import ConnectionFailed, JobFailed, MissingDependency, TransferFailed
from gpuctl.models import Artifact, Event, Job, Json, Secret
from gpuctl.remote import scripts
from gpuctl.remote.base import Shell
from gpuctl.remote.local import LocalShell
from gpuctl.remote.shell_runner import ShellRunner
from gpuctl.resources import bundled

MODEL = {"repo": "black-forest-labs/FLUX.1-schnell", "pipeline": "FluxPipeline"}
INPUT: Json = {"model": MODEL, "width": 64, "height": 64, "steps": 2, "seed": 7}
PROMPT = 'it\'s a "fox"\n$(touch /tmp/never) `id` 🦊 ' + "snow " * 2000


@dataclass
class Said:
    """A report that remembers."""

    steps: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def step(self, text: str) -> None:
        self.steps.append(text)

    def note(self, text: str) -> None: ...

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def progress(self, stage: str, done: float, total: float | None) -> None: ...


@pytest.fixture(scope="module")
def frozen_scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts as they are now: an edit during the tests would change their name."""
    copy = tmp_path_factory.mktemp("bundled") / "remote_scripts"
    shutil.copytree(bundled("remote_scripts"), copy)
    return copy


@pytest.fixture(autouse=True)
def use_frozen_scripts(frozen_scripts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scripts, "bundled", lambda name: frozen_scripts)


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture
def sim_python(tmp_path: Path) -> str:
    """An interpreter that works as in the simulator, where the environment cannot be sent."""
    path = tmp_path / "python"
    path.write_text(
        f'#!/bin/sh\nGPUCTL_ENGINE=sim GPUCTL_SIM_STEP_S=0.01 exec {sys.executable} "$@"\n'
    )
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return tmp_path / "work space"


@pytest.fixture
def runner(shell: Shell, workspace: Path, sim_python: str, said: Said) -> Iterator[ShellRunner]:
    runner = new_runner(shell, workspace, sim_python, said)
    yield runner
    runner.stop("flux")


def new_runner(shell: Shell, workspace: Path, python: str, said: Said) -> ShellRunner:
    secrets = {"HF_TOKEN": Secret("hf_very_secret")}
    return ShellRunner(
        shell, workspace=str(workspace), python=python, idle_s=30, secrets=secrets, report=said
    )


def job(name: str, **changes: object) -> Job:
    return Job(name, "flux", {**INPUT, "prompt": "a red fox", **changes})


def artifacts(events: list[Event]) -> list[Artifact]:
    found = [event.data for event in events if event.kind == "artifact"]
    return [Artifact(d["path"], d["bytes"], d["sha256"], d["media_type"]) for d in found]


def test_a_job_is_followed_to_its_end_and_its_picture_comes_home(
    runner: ShellRunner, said: Said, tmp_path: Path, workspace: Path
) -> None:
    events = list(runner.submit(job("first", prompt=PROMPT)))
    assert (events[0].kind, events[-1].kind) == ("accepted", "done"), events
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    (picture,) = artifacts(events)
    runner.fetch(picture, tmp_path / "fox.png")
    content = (tmp_path / "fox.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert hashlib.sha256(content).hexdigest() == picture.sha256
    kept = json.loads((workspace / "jobs/first/request.json").read_text())
    assert kept["input"]["prompt"] == PROMPT
    assert said.steps == ["sending the scripts to the machine"]
    assert said.warnings == []


def test_the_scripts_are_sent_once_and_the_second_job_needs_nothing_more(
    runner: ShellRunner, shell: Shell, workspace: Path, sim_python: str, said: Said
) -> None:
    list(runner.submit(job("one")))
    later = Said()
    events = list(new_runner(shell, workspace, sim_python, later).submit(job("two")))
    assert events[-1].kind == "done"
    assert later.steps == []
    assert [row["id"] for row in runner.jobs("flux")] == ["one", "two"]


def test_the_same_id_runs_once_and_a_second_submit_replays_it(runner: ShellRunner) -> None:
    first = list(runner.submit(job("same")))
    assert list(runner.submit(job("same"))) == first


def test_what_was_missed_is_replayed_from_where_it_stopped(runner: ShellRunner) -> None:
    following = runner.submit(job("missed"))
    seen = [next(following), next(following)]
    following.close()
    rest = list(runner.attach("flux", "missed", from_seq=2))
    assert rest[0].seq == 3
    assert rest[-1].kind == "done"
    assert list(runner.attach("flux", "missed")) == seen + rest


def test_a_job_that_nobody_watches_can_be_cancelled(runner: ShellRunner) -> None:
    following = runner.submit(job("long", steps=150))
    until(following, "progress")
    assert runner.cancel("flux", "long")
    assert not runner.cancel("flux", "long")
    last = list(following)[-1]
    assert (last.kind, last.data["code"]) == ("error", "cancelled")


def test_input_files_go_up_once_under_the_names_they_are_asked_for(
    runner: ShellRunner, workspace: Path, big_file: Path, said: Said
) -> None:
    wanted = Job("with-file", "flux", {**INPUT, "prompt": "a"}, {"inputs/it's.png": big_file})
    list(runner.submit(wanted))
    there = workspace / "inputs/it's.png"
    assert there.read_bytes() == big_file.read_bytes()
    stamp = there.stat().st_mtime_ns
    list(runner.submit(wanted))
    assert there.stat().st_mtime_ns == stamp
    assert said.steps.count("sending big") == 1


def test_a_secret_is_on_no_command_line_and_in_no_file(
    runner: ShellRunner, workspace: Path
) -> None:
    following = runner.submit(job("quiet", steps=40))
    until(following, "progress")
    lines = command_lines()
    list(following)
    assert b"hf_very_secret" not in lines
    files = [path.read_bytes() for path in workspace.rglob("*") if path.is_file()]
    assert files
    assert not any(b"hf_very_secret" in content for content in files)


def test_a_picture_that_was_damaged_on_the_way_is_refused(
    runner: ShellRunner, tmp_path: Path
) -> None:
    (picture,) = artifacts(list(runner.submit(job("hurt"))))
    Path(picture.path).write_bytes(bytes(picture.bytes))
    with pytest.raises(TransferFailed, match="arrived damaged"):
        runner.fetch(picture, tmp_path / "fox.png")
    assert not list(tmp_path.glob("fox.png*"))


def test_the_worker_says_what_it_is_doing(runner: ShellRunner) -> None:
    assert runner.status("flux")["model_loaded"] is False
    list(runner.submit(job("status")))
    assert runner.status("flux")["model_loaded"] is True


def scripted(monkeypatch: pytest.MonkeyPatch, script: str, said: Said) -> ShellRunner:
    """A runner whose worker is `script` instead."""
    shell = LocalShell()
    start: Callable[[list[str]], object] = shell.start
    monkeypatch.setattr(shell, "start", lambda argv: start(["sh", "-c", script]))
    return new_runner(shell, Path("/nowhere"), "auto", said)


def test_heartbeats_are_silent_and_noise_is_warned_of_and_skipped(
    monkeypatch: pytest.MonkeyPatch, said: Said
) -> None:
    done = '{"v":1,"seq":1,"ts":2.5,"event":"done","metrics":{},"new":1}'
    runner = scripted(monkeypatch, f"echo; echo 'Welcome!'; echo; echo '{done}'", said)
    assert list(runner.attach("flux", "a")) == [Event(1, 2.5, "done", {"metrics": {}, "new": 1})]
    assert said.warnings == ["the worker said something that is no event: Welcome!"]


def test_a_worker_that_ends_without_a_word_is_a_failure_with_its_last_words(
    monkeypatch: pytest.MonkeyPatch, said: Said
) -> None:
    runner = scripted(monkeypatch, "echo Traceback >&2; echo 'KeyError: x' >&2; exit 1", said)
    with pytest.raises(JobFailed) as failed:
        list(runner.attach("flux", "a"))
    assert failed.value.message == "the worker on the machine ended without a result: KeyError: x"
    assert failed.value.details["exit_code"] == 1


def test_a_machine_without_python_is_named_so(monkeypatch: pytest.MonkeyPatch, said: Said) -> None:
    runner = scripted(monkeypatch, "echo 'gpuctl: no python3' >&2; exit 76", said)
    with pytest.raises(MissingDependency, match="there is no python3 on the machine"):
        list(runner.attach("flux", "a"))


@pytest.mark.sshd
def test_a_job_goes_on_when_its_connection_is_killed_and_is_replayed_on_the_next(
    request: pytest.FixtureRequest, workspace: Path, sim_python: str, said: Said
) -> None:
    connect, daemon = request.getfixturevalue("connect"), request.getfixturevalue("sshd")
    runner = new_runner(connect(daemon), workspace, sim_python, said)
    following = runner.submit(job("dropped", steps=60))
    seen = until(following, "progress")
    daemon.signal_sessions(signal.SIGKILL)
    with pytest.raises(ConnectionFailed):
        seen += list(following)
    again = new_runner(connect(daemon), workspace, sim_python, said)
    rest = list(again.attach("flux", "dropped", from_seq=seen[-1].seq))
    assert rest[0].seq == seen[-1].seq + 1
    assert rest[-1].kind == "done"
    again.stop("flux")


def until(events: Iterator[Event], kind: str) -> list[Event]:
    seen = []
    for event in events:
        seen.append(event)
        if event.kind == kind:
            return seen
    raise AssertionError(f"no {kind} came: {seen}")


def command_lines() -> bytes:
    """Those of every process of this computer, the pods' included."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # It ended meanwhile.
            lines.append(path.read_bytes())
    assert len(lines) > 1
    return b"\n".join(lines)
