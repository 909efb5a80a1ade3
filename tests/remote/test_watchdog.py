"""The watchdog over every kind of shell: sent, started apart from the connection, read back."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gpuctl.remote import watchdog
from gpuctl.remote.base import Shell
from gpuctl.remote.local import LocalShell
from tests.support.pod_api import pod_api
from tests.support.simulator import until

LEASE = {"serial": 1, "drain_in_s": 3600.0, "end_in_s": 3900.0, "idle_stop_s": 600.0}


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[str]:
    """Whatever watches there is ended with the test."""
    folder = tmp_path / "w"
    yield str(folder)
    mark = str(folder).encode()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            is_ours = (
                mark in (entry / "environ").read_bytes()
                and b"watchdog" in (entry / "cmdline").read_bytes()
            )
        except OSError:
            continue
        if is_ours:
            os.kill(int(entry.name), signal.SIGKILL)


def status(reading: watchdog.Reading) -> dict[str, Any]:
    found: dict[str, Any] = (reading.details or {})["status"]
    return found


def test_it_is_sent_started_and_read_back_and_says_why_it_is_not_armed(
    shell: Shell, workspace: str
) -> None:
    before = watchdog.read(shell, "p1", workspace=workspace)
    assert before.why is not None
    assert "never started" in before.why
    armed = watchdog.arm(shell, "p1", LEASE, workspace=workspace)
    assert armed.serial == 1
    assert armed.why is not None, "this is no pod of its own name: no key may pass for one"
    assert "key" in armed.why
    assert watchdog.read(shell, "p1", workspace=workspace).serial == 1


def test_arming_again_keeps_the_watchdog_and_brings_the_newer_lease(
    shell: Shell, workspace: str
) -> None:
    first = watchdog.arm(shell, "p1", LEASE, workspace=workspace)
    again = watchdog.arm(shell, "p1", {**LEASE, "serial": 2}, workspace=workspace)
    assert again.serial == 2
    assert status(again)["pid"] == status(first)["pid"]


@pytest.mark.sshd
def test_it_outlives_the_connection_that_brought_it(
    connect: Any, shared_sshd: Any, workspace: str
) -> None:
    shell = connect(shared_sshd)
    pid = status(watchdog.arm(shell, "p1", LEASE, workspace=workspace))["pid"]
    shell.close()
    found = watchdog.read(connect(shared_sshd), "p1", workspace=workspace)
    assert (found.details or {})["alive"] is True
    assert status(found)["pid"] == pid


def test_one_that_crashes_is_started_again_without_anybody_looking(
    workspace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slow (five seconds): the pause before a restart is real."""
    shell = LocalShell()
    pid = status(watchdog.arm(shell, "p1", LEASE, workspace=workspace))["pid"]
    os.kill(pid, signal.SIGKILL)

    def again() -> bool:
        found = watchdog.read(shell, "p1", workspace=workspace)
        return bool((found.details or {})["alive"]) and status(found)["pid"] != pid

    until(again)


def test_it_ends_its_pod_when_nobody_comes_back(
    workspace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pod_api() as api:
        api.pods["p1"] = {"id": "p1", "status": "RUNNING"}
        monkeypatch.setenv("RUNPOD_POD_ID", "p1")
        monkeypatch.setenv("RUNPOD_API_KEY", "rpa_of_the_pod")
        monkeypatch.setenv("GPUCTL_API_URL", api.url)
        monkeypatch.setenv("GPUCTL_WATCHDOG_CLOCK_FACTOR", "3600")
        armed = watchdog.arm(LocalShell(), "p1", LEASE, workspace=workspace)
        assert armed.why is None
        until(lambda: {"action": "terminate"} in api.calls("POST", "/v2/pods/p1/action"))
