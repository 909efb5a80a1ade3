"""The rehearsal as one types it: launch, validate, deploy; nothing is left, however it ends."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from gpuctl.clients.aws_sts import AwsAccess
from gpuctl.clients.ec2_rental import Ec2Rental
from gpuctl.models import Secret
from gpuctl.sim import ec2_faults, ec2_launcher, launcher, processes
from tests.journeys.conftest import Person, until

IMAGE = "simulated/gpuctl-flux:"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """One person, one simulator, one image that was pushed: every test begins without instances."""
    home = tmp_path_factory.mktemp("person")
    one = Person(home)
    one.folder.mkdir()
    try:
        assert one.types("--sim", "build", "flux").code == 0
        assert one.types("--sim", "push", "flux").code == 0
        yield one
    finally:
        launcher.reset(one.sim_folder)
        left = processes.with_marker(launcher.FOLDER_MARKER, str(one.sim_folder.resolve()))
        assert left == [], f"processes were left behind: {left}"


@pytest.fixture
def operator(shared: Person) -> Iterator[Person]:
    yield shared
    ec2_faults.clear(shared.sim_folder)
    for instance in running(shared):
        _api(shared).terminate(str(instance["InstanceId"]))


@pytest.fixture(scope="module")
def image(shared: Person) -> str:
    """Any image will do: a container is the service of the workload that is rehearsed."""
    listed = shared.simulates("image", "list").data["images"]
    return str(next(each["reference"] for each in listed if each["reference"].startswith(IMAGE)))


def running(person: Person) -> list[Any]:
    """What EC2 itself says, not what gpuctl remembers."""
    return _api(person).instances() if ec2_launcher.running(person.sim_folder) else []


@cache
def _api(person: Person) -> Ec2Rental:
    found = ec2_launcher.running(person.sim_folder)
    assert found is not None
    access = AwsAccess(
        access_key_id="x", secret_access_key=Secret("y"), endpoint_url=found.url, region="us-east-1"
    )
    return Ec2Rental(access, "us-east-1", 20.0)


def test_an_instance_is_launched_shown_entered_and_ended(operator: Person, image: str) -> None:
    launched = operator.simulates("ec2", "launch", "--image", image, "--ttl", "30m")
    machine = launched.data["machine"]
    assert (machine["status"], machine["gpu"], machine["image"]) == ("RUNNING", "T4", image)
    (one,) = operator.simulates("ec2", "list").data["instances"]
    assert one["lease"]["remaining_s"] == pytest.approx(1800, abs=120)
    killers = {each["name"]: each["armed"] for each in one["lease"]["killers"]}
    assert killers == {"timer": True, "reaper": False}
    assert one["usd_so_far"] >= 0
    everywhere = operator.simulates("status").data["machines"]
    assert [each["id"] for each in everywhere] == [machine["id"]]
    bills = operator.simulates("resources").data["resources"]
    assert {(row["kind"], row["class"]) for row in bills} == {
        ("instance", "ours-running"),
        ("disk", "ours-running"),
    }
    done = operator.types("--sim", "exec", "--on", machine["name"], "--", "nvidia-smi", "-L")
    assert "Tesla T4" in done.stdout
    assert "bootstrap ready" in operator.types("--sim", "ec2", "logs", "--console").stdout
    extended = operator.simulates("lease", "extend", "1h", machine["name"]).data
    assert extended["remaining_s"] == pytest.approx(5400, abs=120)
    assert {each["name"]: each["armed"] for each in extended["killers"]}["timer"]
    assert operator.simulates("terminate", machine["name"], "--yes").data["terminated"]
    assert running(operator) == []
    assert operator.simulates("ec2", "list").data["instances"] == []


def test_an_instance_that_is_there_is_reused_replaced_or_nothing_happens(
    operator: Person, image: str
) -> None:
    first = operator.simulates("ec2", "launch", "--image", image).data["machine"]["id"]
    refused = operator.simulates("ec2", "launch", "--image", image)
    assert refused.code == 2
    assert "--reuse" in refused.error["hint"]
    reused = operator.simulates("ec2", "launch", "--image", image, "--reuse")
    assert reused.data["machine"]["id"] == first
    assert reused.envelope["changed"] is False
    replaced = operator.simulates("ec2", "launch", "--image", image, "--replace")
    assert replaced.data["machine"]["id"] != first
    assert len(running(operator)) == 1


def test_a_dry_run_asks_nobody_and_shows_the_price(operator: Person, image: str) -> None:
    shown = operator.simulates("ec2", "validate", "--image", image, "--dry-run").data
    assert shown["types"][0] == {"type": "g4dn.xlarge", "usd_h": 0.526, "usd_most": 0.789}
    assert shown["checks"] == ["health", "ready", "status", "transcription"]
    assert running(operator) == []


def test_a_deploy_wants_a_passport_of_the_same_image(operator: Person, image: str) -> None:
    deploy = ("deploy", "whisper", "--image", image, "--no-wait")
    refused = operator.simulates(*deploy)
    assert refused.code == 8
    assert "gpuctl ec2 validate whisper" in refused.error["hint"]
    plan = operator.simulates(*deploy, "--dry-run").data
    assert plan["gate"]["passed"] is False
    assert operator.simulates(*deploy, "--no-gate").code == 2, "a reason is wanted"

    validated = operator.types("--sim", "--json", "ec2", "validate", "--image", image)
    data = validated.data
    assert data["passed"]
    names = [phase["name"] for phase in data["phases"]]
    checks = ["health", "ready", "status", "transcription"]
    assert names == ["launch", "ssh", "bootstrap", "pull", "run", *checks, "terminate"]
    assert all(phase["is_ok"] for phase in data["phases"])
    assert data["checks"][-1]["body"]["word_error"] == 0.0
    assert running(operator) == []

    shown = operator.simulates("passport", "show", "whisper").data
    assert shown["intact"]
    assert shown["passport"]["digest"] == data["digest"]
    assert shown["passport"]["simulated"] is True
    assert shown["passport"]["machine"]["host_key"] == "console"
    assert operator.simulates("passport", "verify").data["made_here"]

    deployed = operator.simulates(*deploy)
    machine = deployed.data["machine"]
    assert machine["image"].endswith(f"@{data['digest']}"), "what was tried is what is deployed"
    operator.simulates("terminate", machine["name"], "--yes", "--discard")

    file = Path(data["passport"])
    document = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**document, "usd": 0}), encoding="utf-8")
    assert operator.simulates("passport", "verify").code == 8
    assert operator.simulates(*deploy).code == 8

    waived = operator.simulates(*deploy, "--no-gate", "--reason", "a drill")
    name = waived.data["machine"]["name"]
    assert _noted(operator, name)["no_gate"] == "a drill"
    operator.simulates("terminate", name, "--yes", "--discard")


def test_an_image_that_was_never_pushed_costs_nothing(operator: Person) -> None:
    refused = operator.simulates("ec2", "validate", "--image", "nobody/nothing:1")
    assert refused.code == 3
    assert "gpuctl push" in refused.error["hint"]
    assert running(operator) == []


def test_a_quota_of_zero_is_named_and_linked(operator: Person, image: str) -> None:
    ec2_faults.add(operator.sim_folder, "ec2-quota", "0")
    refused = operator.simulates("ec2", "validate", "--image", image)
    assert refused.code == 5
    assert "L-DB2E81BA" in refused.error["hint"]


def test_ctrl_c_ends_the_instance(operator: Person, image: str) -> None:
    process = _until_it_says(operator, image, "bootstrap", signal.SIGINT)
    assert process.returncode == 130
    assert running(operator) == []


def test_kill_9_before_the_answer_to_the_launch_leaves_nothing_after_reap(
    operator: Person, image: str
) -> None:
    ec2_faults.add(operator.sim_folder, "ec2-slow-run", "20")
    process = operator.start("--sim", "ec2", "validate", "--image", image)
    until(lambda: running(operator), "the instance whose answer nobody waits for")
    process.kill()
    process.communicate()
    ec2_faults.clear(operator.sim_folder)
    reaped = operator.simulates("reap")
    assert reaped.code == 0, reaped.stdout
    assert [row["deed"] for row in reaped.data["machines"]] == ["ended"]
    assert running(operator) == []


@pytest.mark.parametrize("moment", ["ssh\n", "transcription\n"])
def test_kill_9_at_any_point_leaves_nothing_after_reap(
    operator: Person, image: str, moment: str
) -> None:
    _until_it_says(operator, image, moment, signal.SIGKILL)
    assert len(running(operator)) == 1
    assert operator.simulates("reap").code == 0
    assert running(operator) == []


def test_kill_9_is_settled_by_the_next_start(operator: Person, image: str) -> None:
    _until_it_says(operator, image, "pull\n", signal.SIGKILL)
    done = operator.types("--sim", "status")
    assert "left by an interrupted rehearsal" in done.stderr
    assert running(operator) == []


def _until_it_says(
    person: Person, image: str, words: str, sign: signal.Signals
) -> subprocess.Popen[str]:
    """Validates, and is struck as soon as these words were said."""
    process = person.start("--sim", "ec2", "validate", "--image", image)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(words):
            process.send_signal(sign)
            break
    process.communicate(timeout=60)
    return process


def _noted(person: Person, name: str) -> dict[str, Any]:
    from gpuctl.state import State

    intent = State(person.sim_folder / "client" / "state.db").intent(name)
    assert intent is not None
    return dict(intent.detail)


def test_the_path_from_a_dockerfile_to_a_service_needs_no_name_twice(person: Person) -> None:
    for argv in (("build", "whisper", "--slim"), ("push", "whisper", "--slim")):
        assert person.simulates(*argv).code == 0
    refused = person.simulates("deploy", "whisper", "--slim")
    assert refused.code == 8, "built and pushed, but proven by nobody"
    passed = person.simulates("ec2", "validate").data
    written = json.loads(Path(passed["passport"]).read_text(encoding="utf-8"))
    assert written["variant"] == "slim", "what was pushed last is what is validated"
    assert person.simulates("deploy", "whisper", "--slim", "--no-wait").code == 0
