"""Guards: every test has its own home, sees no inherited secrets, and prints nothing by itself."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from gpuctl.sim.wire import RECORD
from tests.support.openapi import found_description
from tests.support.wire import Wire

# Several tests run at once: slow is not wrong.
settings.register_profile("gpuctl", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("gpuctl")

# Its fixture is everybody's; a module that named it later could not have its asserts explained.
pytest_plugins = ["tests.support.simulator"]

_INHERITED = (
    "GPUCTL_",
    "RUNPOD_",
    "AWS_",
    "ANTHROPIC_",
    "HF_",
    "HUGGINGFACE_",
    "STEPS_",
    "XDG_",
    "CLAUDE_",
    "WHISPER_",
    "MAX_CLIENTS",
    "MAX_CONNECTION_TIME",
)
_ALLOWED = ("GPUCTL_TEST_", "GPUCTL_RUNPOD_OPENAPI", RECORD, "AWS_CA_BUNDLE")
_SEED_NAMES = ("SSH_KEY", "SSH_CONNECT_TIMEOUT", "WORKSPACE_PATH", "OUTPUT_DIR", "NO_COLOR")


@pytest.fixture(scope="session", autouse=True)
def wire(tmp_path_factory: pytest.TempPathFactory) -> Wire | None:
    """Every simulator of this run records here. None without RunPod's description."""
    if found_description() is None:
        return None
    found = Wire(tmp_path_factory.mktemp("wire"))
    os.environ[RECORD] = str(found.folder)
    return found


@pytest.fixture(autouse=True)
def as_described(wire: Wire | None) -> Iterator[None]:
    """Fails a test during which something was asked or answered that RunPod does not describe."""
    yield
    if wire is not None:
        problems = wire.violations()
        assert problems == [], "\n".join(["RunPod's description does not allow:", *problems])


@pytest.fixture(autouse=True)
def private_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A test has its own HOME, XDG folders and current folder, and a bare environment."""
    for name in list(os.environ):
        if (name.startswith(_INHERITED) and not name.startswith(_ALLOWED)) or name in _SEED_NAMES:
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    project = home / "project"
    project.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(home / ".local/state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(project)
    return home


def pytest_configure() -> None:
    """A shell that starts pytest in the background has Ctrl-C ignored, and what is ignored stays
    ignored in every command that a test interrupts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """GPUCTL_TEST_REQUIRE=sshd,flux,openapi turns 'skipped' into 'failed' for those marks."""
    required = set(filter(None, os.environ.get("GPUCTL_TEST_REQUIRE", "").split(",")))
    for mark in required:
        if item.get_closest_marker(mark):
            item.add_marker(pytest.mark.required)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and item.get_closest_marker("required") and call.excinfo is not None:
        report.outcome = "failed"
        report.longrepr = f"required here, but skipped: {call.excinfo.value}"
    return report
