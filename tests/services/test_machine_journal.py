"""Intents that were never resolved: settled by name on the next start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpuctl.services import journal
from gpuctl.state import State
from tests.support.pod_api import Answer, PodApi, pod_api
from tests.support.rental import Rental, rental

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def api() -> Iterator[PodApi]:
    with pod_api() as found:
        yield found


@pytest.fixture
def shop(api: PodApi, tmp_path: Path) -> Iterator[Rental]:
    with rental(api.url, tmp_path) as found:
        yield found


def intend(shop: Rental, name: str = "gpuctl-flux-x", **detail: object) -> None:
    shop.state.intend(name, "runpod", "flux", {**journal.author(), "pid": 2**22 + 1, **detail})


def test_with_nothing_open_the_provider_is_not_asked(api: PodApi, shop: Rental) -> None:
    assert journal.reconcile(shop.session) == []
    assert api.requests == []


def test_what_exists_is_remembered_and_reported_in_one_line(api: PodApi, shop: Rental) -> None:
    intend(shop)
    api.pods["p"] = {"id": "p", "name": "gpuctl-flux-x", "status": "RUNNING", "cost": 0.39}
    [finding] = journal.reconcile(shop.session)
    assert finding.outcome == "found"
    assert shop.state.machine("p") is not None
    assert shop.report.said("warn") == [
        "gpuctl-flux-x exists from an interrupted deploy: RUNNING, $0.39/h. "
        "Keep it, or: gpuctl terminate gpuctl-flux-x"
    ]
    assert journal.reconcile(shop.session) == []


def test_what_is_not_listed_is_given_a_minute_before_it_counts_as_never_made(
    shop: Rental,
) -> None:
    intend(shop)
    assert [finding.outcome for finding in journal.reconcile(shop.session)] == ["waiting"]
    shop.clock.sleep(61)
    assert [finding.outcome for finding in journal.reconcile(shop.session)] == ["never_created"]
    assert shop.state.unresolved() == []


def test_what_could_not_be_asked_stays_open_and_is_warned_of(api: PodApi, shop: Rental) -> None:
    intend(shop)
    api.script("GET /v2/pods", *[Answer(502, "<html>Bad Gateway")] * 3)
    assert [finding.outcome for finding in journal.reconcile(shop.session)] == ["unchecked"]
    assert len(shop.state.unresolved()) == 1
    assert "could not be checked" in shop.report.said("warn")[0]


def test_the_intent_of_a_living_process_is_left_to_it(shop: Rental) -> None:
    intend(shop, pid=os.getppid())
    shop.clock.sleep(100)
    assert journal.reconcile(shop.session) == []
    shop.clock.sleep(4000)
    assert [finding.outcome for finding in journal.reconcile(shop.session)] == ["never_created"]


def test_kill_9_after_the_pod_was_made_is_found_by_the_next_command(
    api: PodApi, private_home: Path
) -> None:
    """Slow (two interpreters): the process is killed before it can read the 500."""
    environ = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "GPUCTL_RUNPOD__API_URL": api.url,
        "RUNPOD_API_KEY": "rpa_0123456789abcdef",
        "SSH_KEY": str(private_home / "key"),
    }
    (private_home / "key").write_text("unused")
    (private_home / "key.pub").write_text("ssh-ed25519 AAAA me")
    gpuctl = [sys.executable, "-m", "gpuctl"]
    take = api.take

    def kill(method: str, path: str) -> Answer | None:
        if method != "POST":
            return take(method, path)
        os.kill(deploy.pid, signal.SIGKILL)
        return Answer(500, "", happens=True)

    api.take = kill  # type: ignore[method-assign]
    with subprocess.Popen([*gpuctl, "deploy", "-q"], env=environ) as deploy:
        assert deploy.wait() == -signal.SIGKILL
    state = State(private_home / ".local/state/gpuctl/state.db")
    [intent] = state.unresolved()
    assert [pod["name"] for pod in api.pods.values()] == [intent.name]
    after = subprocess.run([*gpuctl, "status"], env=environ, capture_output=True, text=True)
    assert after.returncode == 0, after.stderr
    assert f"{intent.name} exists from an interrupted deploy: RUNNING, $0.39/h" in after.stderr
    assert state.unresolved() == []
    assert state.machine(intent.name) is not None
