"""Every known way in which RunPod fails, and that the operator is told what to do about it."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gpuctl.cli import main
from gpuctl.console import Console
from gpuctl.context import Context
from gpuctl.services import booting
from gpuctl.sim.kinds import FAULT_KINDS
from gpuctl.sim.launcher import Simulator, add_fault, clear_faults, status
from tests.support.clock import HurriedClock
from tests.support.simulator import api_client, running_simulator

Argv = tuple[str, ...]
DEPLOY: Argv = ("deploy", "--gpu", "L4", "--gpu", "A40")
START: Argv = ("start", "flux")


@dataclass(frozen=True)
class Line:
    """One line of the table of failures: what is done before, what strikes, what must be said.

    `before` commands work; `pods` is what is left in the account, by status.
    """

    name: str
    fault: str | None
    argv: Argv
    code: int
    says: Sequence[str]
    pods: Sequence[str] = ()
    before: tuple[Argv, ...] = ()
    value: str | None = None
    times: int | None = None


ONE = ("RUNNING",)
LINES = (
    Line("no capacity at create", "no-capacity", DEPLOY, 0,
         ("no longer any instances available", "asking for A40"), ONE),
    Line("no capacity anywhere", "no-capacity", DEPLOY, 5,
         ("all 2 offers were refused", "--cloud any"), times=9),
    Line("no funds", "insufficient-funds", DEPLOY, 6, ("add credit to the account",)),
    Line("bad image name, at create", "image-refused", DEPLOY, 2, ("invalid image name",)),
    Line("bad image name, in the log", "bad-image", DEPLOY, 2,
         ("there is no such image", "manifest unknown", "--image REF", "is terminated")),
    Line("private image", "private-image", DEPLOY, 2,
         ("does not let this account pull", "Container Registry", "is terminated")),
    Line("CUDA too old host", "old-driver", DEPLOY, 0,
         ("driver of this host is too old", "flux.min_cuda", "is terminated", "asking for A40"),
         ONE),
    Line("disk too small for image", "image-too-large", DEPLOY, 2,
         ("container disk is too small", "flux.disk_gb", "is terminated")),
    Line("stuck provisioning", "slow-start", DEPLOY, 0,
         ("nothing has happened in its system log for", "system log: image pull",
          "is terminated", "asking for A40"), ONE, value="90000"),
    Line("running but unusable", "no-address", DEPLOY, 0,
         ("no public ssh address", "is terminated", "asking for A40"), ONE),
    Line("crash loop", "crash-loop", DEPLOY, 0,
         ("container log: ModuleNotFoundError: No module named 'torch'",
          "its container ends and is started again and again", "is terminated"), ONE),
    Line("start after stop: GPU taken", "host-full", START, 5,
         ("not enough free GPUs on the host",), ("EXITED",), before=(DEPLOY, ("stop", "flux"))),
    Line("restart: GPU taken, data stranded", "host-full", ("restart", "flux"), 5,
         ("lies on that host and nowhere else", "a month", "try again later"), ("EXITED",),
         before=(DEPLOY, ("stop", "flux"))),
    Line("zero-GPU start", "gpu-gone", START, 5,
         ("came back without its GPU", "is stopped again"), ("EXITED",),
         before=(DEPLOY, ("stop", "flux"))),
    Line("network-volume lock-in", None, ("deploy", "--volume", "{volume}"), 5,
         ("in AP-JP-1", "allows no other place", "copy what is on it to a volume outside")),
    Line("stopped by the platform, or a spot interruption", "platform-stop", ("status",), 0,
         ("is EXITED, and not from here", "--source system", "gpuctl restart"), ("EXITED",),
         before=(DEPLOY,)),
    Line("gone", "vanish", ("status",), 0, ("no longer exists",), before=(DEPLOY,)),
    Line("locked", "lock", ("stop", "flux"), 9, ("pod is locked", "--unlock"), ONE,
         before=(DEPLOY,)),
    Line("rate limited", "rate-limit", DEPLOY, 0, (), ONE, value="7"),
    Line("rate limited for long", "rate-limit", DEPLOY, 1, ("try again in 900 s",),
         value="900", times=9),
    Line("duplicate create after a time-out", "create-twice", DEPLOY, 0,
         ("was created all the same",), ONE),
)  # fmt: skip

# Lines of the table without anything to simulate.
NOT_SEEN_IN_THE_API = {
    "host maintenance": "announced by e-mail only; afterwards the pod is stopped, as above",
    "spot interruption": "v2 creates no spot pods; a legacy one is stopped, as above",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def shared(folder: Path) -> Iterator[Simulator]:
    with running_simulator(folder / "gpuctl/sim") as found:
        yield found


class Operator:
    """Types commands, on a clock on which minutes are moments."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.said = ""
        self._clock = HurriedClock()

    def types(self, *argv: str) -> int:
        out, err = io.StringIO(), io.StringIO()
        context = Context(Console(stdout=out, stderr=err), clock=self._clock)
        code = main(["--sim", "--yes", *argv], context=context)
        self.said = out.getvalue() + err.getvalue()
        return code

    def pods(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = status(self.simulator)["pods"]
        return found


@pytest.fixture
def operator(
    shared: Simulator, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Operator]:
    """A log that says nothing more is believed at once: real silence takes real seconds."""
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    monkeypatch.setenv("GPUCTL_DEPLOY__CANARY", "false")
    monkeypatch.setattr(booting, "LOG_GLANCE_S", 0.05)
    monkeypatch.setattr(booting, "LOG_QUIET_S", 0.1)
    one = Operator(shared)
    yield one
    clear_faults(shared)
    names = [pod["name"] for pod in one.pods()]
    assert not names or one.types("terminate", *names) == 0


@pytest.fixture
def far_volume(shared: Simulator) -> Iterator[str]:
    """A network volume where no GPU is."""
    with api_client(shared) as client:
        order = {"name": "far", "size": 10, "dataCenter": "AP-JP-1"}
        volume_id: str = client.post("/network-volumes", json=order).json()["id"]
        yield volume_id
        client.delete(f"/network-volumes/{volume_id}")


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.name)
def test_the_operator_is_told_what_to_do(operator: Operator, far_volume: str, line: Line) -> None:
    for argv in line.before:
        assert operator.types(*argv) == 0, operator.said
    if line.fault:
        add_fault(operator.simulator, line.fault, value=line.value, times=line.times)
    code = operator.types(*(word.format(volume=far_volume) for word in line.argv))
    assert code == line.code, operator.said
    for text in line.says:
        assert text in operator.said
    assert [pod["status"] for pod in operator.pods()] == list(line.pods)


def test_a_locked_machine_is_stopped_with_consent(operator: Operator) -> None:
    assert operator.types(*DEPLOY) == 0
    add_fault(operator.simulator, "lock")
    assert operator.types("stop", "flux", "--unlock") == 0
    assert [pod["status"] for pod in operator.pods()] == ["EXITED"]


def test_a_machine_on_a_network_volume_moves_to_another_host(operator: Operator) -> None:
    with api_client(operator.simulator) as client:
        order = {"name": "models", "size": 10, "dataCenter": "EU-RO-1"}
        volume = client.post("/network-volumes", json=order).json()["id"]
        assert operator.types("deploy", "--volume", volume, "--env", "COLOUR=blue") == 0
        [before] = operator.pods()
        add_fault(operator.simulator, "host-full")
        assert operator.types("restart", "flux", "--recreate") == 0, operator.said
        [after] = operator.pods()
        assert after["id"] != before["id"]
        assert after["mounts"] == before["mounts"]
        assert after["env"]["COLOUR"] == "blue"
        assert after["image"] == before["image"]
        assert operator.types("terminate", after["name"]) == 0
        client.delete(f"/network-volumes/{volume}")


def test_a_restarted_machine_is_used_at_its_new_address(operator: Operator) -> None:
    assert operator.types(*DEPLOY) == 0
    [before] = operator.pods()
    assert operator.types("restart", "flux") == 0, operator.said
    [after] = operator.pods()
    assert after["id"] == before["id"]
    assert after["ssh"]["direct"]["port"] != before["ssh"]["direct"]["port"]
    assert f"root@127.0.0.1:{after['ssh']['direct']['port']}" in operator.said


def test_the_document_has_every_line_and_every_line_has_its_fault() -> None:
    page = (Path(__file__).parents[2] / "docs/money.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.+?) \| ?(.*?) \| .+ \|$", page, re.M)
    told = {fault for _, faults in rows for fault in re.findall(r"`([a-z0-9-]+)`", faults)}
    shown = {line.fault for line in LINES if line.fault}
    assert told == shown
    assert shown <= FAULT_KINDS.keys()
    assert NOT_SEEN_IN_THE_API.keys() <= {name for name, faults in rows if not faults}
