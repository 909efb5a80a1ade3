"""`gpuctl sim …` says what the simulator is doing and changes nothing in a rehearsal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gpuctl.cli import main
from gpuctl.sim import launcher
from gpuctl.sim.kinds import FAULT_KINDS
from tests.support.simulator import a_running_pod, api_client


@pytest.fixture
def folder(private_home: Path) -> Iterator[Path]:
    path = private_home / ".local/state/gpuctl/sim"
    yield path
    launcher.stop(path)


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(*argv: str) -> tuple[int, Any]:
        code = main([*argv, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return run


def test_status_starts_nothing(folder: Path, said: Any) -> None:
    code, envelope = said("sim", "status")
    assert (code, envelope["data"]["running"]) == (0, False)
    assert launcher.running(folder) is None


def test_a_fault_starts_the_simulator_and_shows_in_the_status(folder: Path, said: Any) -> None:
    code, envelope = said("sim", "fault", "no-capacity", "--times", "2", "--value", "4090")
    assert (code, envelope["changed"]) == (0, True)
    found = launcher.running(folder)
    assert found is not None
    with api_client(found) as client:
        pod = a_running_pod(client, gpu={"id": "NVIDIA L4", "count": 1})
    _, envelope = said("sim", "status")
    assert envelope["data"]["faults"] == [{"kind": "no-capacity", "times": 2, "value": "4090"}]
    assert [row["id"] for row in envelope["data"]["pods"]] == [pod["id"]]
    said("sim", "fault", "--clear")
    assert said("sim", "status")[1]["data"]["faults"] == []
    assert [said("sim", "stop")[1]["data"]["stopped"] for _ in range(2)] == [True, False]


@pytest.mark.parametrize(
    "argv", [("nonsense",), (), ("ssh-drop", "--value", "parsecs:1")], ids=["kind", "none", "value"]
)
def test_a_wrong_fault_is_a_usage_error(folder: Path, said: Any, argv: tuple[str, ...]) -> None:
    code, envelope = said("sim", "fault", *argv)
    assert (code, envelope["error"]["hint"]) == (2, "gpuctl sim fault --list")


def test_every_kind_of_fault_is_listed_with_its_meaning(folder: Path, said: Any) -> None:
    _, envelope = said("sim", "fault", "--list")
    page = (Path(__file__).parents[2] / "docs/simulator.md").read_text(encoding="utf-8")
    assert envelope["data"]["kinds"] == FAULT_KINDS
    assert [kind for kind in envelope["data"]["kinds"] if f"| `{kind}` |" not in page] == []


def test_a_rehearsal_changes_nothing(folder: Path, said: Any) -> None:
    for argv in (("fault", "html-502"), ("stop",), ("reset",)):
        assert said("sim", *argv, "--dry-run")[1]["changed"] is False
    assert launcher.running(folder) is None


def test_reset_forgets_everything(folder: Path, said: Any) -> None:
    said("sim", "fault", "html-502")
    assert said("sim", "reset")[0] == 0
    assert not folder.exists()
