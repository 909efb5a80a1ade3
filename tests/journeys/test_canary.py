"""A machine counts as usable when it has made one tiny picture: gpuctl deploy, start, restart."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from gpuctl.cli import main
from gpuctl.models import Event, Job, Json
from gpuctl.services.links import MachineLink
from tests.journeys.conftest import Person, until


@pytest.fixture(autouse=True)
def with_a_canary(person: Person) -> None:
    del person.environ["GPUCTL_DEPLOY__CANARY"]


def machines(person: Person) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = person.simulates("status", "--fast").data["machines"]
    return found


def test_a_deploy_paints_one_tiny_picture_and_the_next_finds_the_model_loaded(
    person: Person,
) -> None:
    done = person.simulates("deploy")
    tried = done.data["canary"]
    assert tried["engine"] == "sim"
    assert tried["load_s"] > 0
    assert tried["seconds"] >= tried["load_s"]
    assert tried["bytes"] > 0
    assert len(tried["sha256"]) == 64
    assert "works: engine sim" in done.stderr
    painted = person.simulates("flux", "a red fox", "--size", "64x64")
    assert painted.data["timings"]["load_s"] == 0
    assert list((person.folder / "outputs").glob("a-small-grey-stone*")) == []
    ended = person.simulates("--yes", "terminate", "flux")
    assert ended.code == 0, "the tiny picture is nothing that an end would lose"
    assert list((person.folder / "outputs").glob("a-small-grey-stone*")) == []


def test_without_a_canary_nothing_is_sent_and_a_dry_run_says_which(person: Person) -> None:
    assert "64x64 picture" in person.types("--sim", "deploy", "--dry-run").stdout
    assert person.simulates("deploy", "--dry-run", "--no-wait").data["canary"] is False
    assert "canary" not in person.simulates("deploy", "--no-canary").data
    assert person.simulates("jobs", "list").data["jobs"] == []


def test_a_new_machine_that_cannot_paint_is_terminated(person: Person) -> None:
    assert person.simulates("sim", "fault", "disk-full").code == 0
    done = person.simulates("deploy")
    assert (done.code, done.error["details"]["worker_code"]) == (1, "disk_full")
    assert done.error["hint"]
    assert "bills nothing any more" in done.stderr
    assert machines(person) == []


def test_a_job_that_the_worker_refuses_ends_the_deploy_with_its_words(person: Person) -> None:
    (person.folder / "gpuctl.yaml").write_text("models: {flux-dev: {cache: nonsense}}\n")
    done = person.simulates("deploy")
    assert (done.code, done.error["details"]["worker_code"]) == (1, "bad_input")
    assert "model.cache" in done.error["message"]
    assert machines(person) == []


def test_a_configuration_that_names_no_model_is_refused_before_anything_is_rented(
    person: Person,
) -> None:
    person.environ["GPUCTL_FLUX__DEFAULT_MODEL"] = "no-such-model"
    done = person.simulates("deploy")
    assert done.code in (2, 3)
    assert "asking for" not in done.stderr


def test_a_canary_that_takes_too_long_ends_the_machine(person: Person) -> None:
    person.environ |= {"GPUCTL_SIM__LOAD_S": "60", "GPUCTL_DEPLOY__CANARY_LIMIT_S": "2"}
    done = person.simulates("deploy")
    assert done.code == 7, done.stderr
    assert "canary_limit_s" in done.error["hint"]
    assert machines(person) == []


def test_a_started_machine_that_cannot_paint_is_stopped_again(person: Person) -> None:
    assert person.simulates("deploy", "--no-canary").code == 0
    assert person.simulates("stop", "flux").code == 0
    assert person.simulates("sim", "fault", "disk-full").code == 0
    done = person.simulates("start", "flux")
    assert done.code == 1
    assert "--no-canary" in done.error["hint"]
    assert [machine["status"] for machine in machines(person)] == ["EXITED"]


def test_a_restarted_machine_is_tried_again_and_survives_a_dropped_connection(
    person: Person,
) -> None:
    assert person.simulates("deploy", "--no-canary").code == 0
    assert person.simulates("sim", "fault", "ssh-drop", "--value", "events:2").code == 0
    done = person.simulates("restart", "flux")
    assert done.data["canary"]["engine"] == "sim", done.stderr
    assert "reconnecting" in done.stderr


def test_a_replacement_that_cannot_paint_leaves_the_old_machine_as_it_was(person: Person) -> None:
    old = person.simulates("deploy", "--no-canary").data["machine"]
    (person.folder / "gpuctl.yaml").write_text("models: {flux-dev: {cache: nonsense}}\n")
    done = person.simulates("--yes", "deploy", "--replace")
    assert done.code == 1
    assert "was not replaced; it bills $" in done.stderr
    assert [machine["id"] for machine in machines(person)] == [old["id"]]


def test_ctrl_c_keeps_the_machine_and_says_what_it_costs(person: Person) -> None:
    person.environ["GPUCTL_SIM__LOAD_S"] = "30"
    process = person.start("--sim", "--json", "deploy")
    stderr = process.stderr
    assert stderr is not None
    until(lambda: "pretending to load" in stderr.readline(), "the tiny job to run")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "is kept and bills $" in out
    assert "gpuctl terminate gpuctl-flux-" in out
    assert [machine["status"] for machine in machines(person)] == ["RUNNING"]


class Gated:
    """A worker that may not download the model."""

    def status(self, workload: str) -> Json:
        return {}

    def submit(self, job: Job) -> Iterator[Event]:
        yield Event(1, 0.0, "accepted", {})
        yield Event(
            2, 1.0, "error", {"code": "gated", "message": "it is gated", "remedy": "accept it"}
        )


def test_a_licence_that_is_missing_keeps_the_machine_and_says_its_price(
    person: Person, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in person.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(person.folder)
    monkeypatch.setattr(MachineLink, "runner", Gated())
    assert main(["--sim", "--json", "deploy"]) == 4
    out = capsys.readouterr().out
    assert "it is gated. gpuctl-flux-" in out
    assert "is kept and bills $0.27/h" in out
    assert "accept it; gpuctl config set huggingface.token, then gpuctl flux" in out
    assert "gpuctl terminate gpuctl-flux-" in out
    assert [machine["status"] for machine in machines(person)] == ["RUNNING"]
