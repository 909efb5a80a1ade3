"""The reaper's timer: put in only by consent, read back, and believed only when it has run."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from gpuctl.errors import GpuctlError, UsageError
from gpuctl.services import killers, reaper_timer
from gpuctl.services.reaper_timer import Timer
from tests.support.timers import fake_timers


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = fake_timers(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.fixture
def timer(private_home: Path, programs: Path) -> Timer:
    folder = private_home / "my project"
    folder.mkdir()
    environ = {"XDG_STATE_HOME": str(private_home / "s"), "RUNPOD_API_KEY": "rpa_0123456789"}
    return reaper_timer.timer(
        is_sim=False, folder=folder, every_s=300, environ=environ, home=private_home
    )


@pytest.mark.parametrize("kind", reaper_timer.KINDS)
def test_a_timer_is_put_in_read_back_and_taken_out_again(timer: Timer, kind: str) -> None:
    assert reaper_timer.installed(timer) is None
    reaper_timer.install(timer, kind)
    reaper_timer.install(timer, kind)
    assert reaper_timer.installed(timer) == kind
    assert reaper_timer.uninstall(timer) == kind
    assert reaper_timer.installed(timer) is None
    assert reaper_timer.uninstall(timer) is None


@pytest.mark.parametrize("kind", reaper_timer.KINDS)
def test_no_secret_goes_into_a_timer(timer: Timer, kind: str) -> None:
    assert "rpa_" not in reaper_timer.lines(timer, kind)


def test_the_crontab_of_others_is_left_as_it_is(timer: Timer, programs: Path) -> None:
    table = programs / "crontab.txt"
    table.write_text("0 3 * * * backup\n# gpuctl-reap is somebody's note\n")
    reaper_timer.install(timer, "cron")
    assert table.read_text().startswith("0 3 * * * backup\n# gpuctl-reap is somebody's note\n*/5 ")
    reaper_timer.uninstall(timer)
    assert table.read_text() == "0 3 * * * backup\n# gpuctl-reap is somebody's note\n"


def test_the_timer_of_the_simulator_is_another_one(timer: Timer, private_home: Path) -> None:
    sim = reaper_timer.timer(
        is_sim=True, folder=timer.folder, every_s=300, environ={}, home=private_home
    )
    reaper_timer.install(timer, "cron")
    assert reaper_timer.installed(sim) is None
    reaper_timer.install(sim, "cron")
    reaper_timer.uninstall(sim)
    assert reaper_timer.installed(timer) == "cron"


def test_the_line_runs_in_the_right_folder_with_the_right_state(timer: Timer) -> None:
    spoken = replace(timer, argv=("sh", "-c", 'pwd; echo "$XDG_STATE_HOME"'))
    done = subprocess.run(["sh", "-c", spoken.command], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [str(timer.folder), timer.environ["XDG_STATE_HOME"]]
    line = reaper_timer.lines(timer, "cron")
    assert line.startswith("*/5 * * * * cd ")
    assert "\n" not in line


def test_a_timer_that_did_not_take_is_an_error(timer: Timer, programs: Path) -> None:
    (programs / "crontab").write_text("#!/bin/sh\nexit 0\n")
    with pytest.raises(GpuctlError, match="is not there"):
        reaper_timer.install(timer, "cron")


def test_an_unknown_kind_is_refused(timer: Timer) -> None:
    with pytest.raises(UsageError, match="no timer 'at'"):
        reaper_timer.install(timer, "at")


def test_cron_is_used_where_the_user_has_no_systemd(
    timer: Timer, programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    assert reaper_timer.kind_here() == "cron"
    fake_timers(programs, has_systemd=True)
    assert reaper_timer.kind_here() == "systemd"
    monkeypatch.setattr("sys.platform", "darwin")
    assert reaper_timer.kind_here() == "launchd"


def test_the_reaper_is_believed_only_after_its_timer_called_it(
    timer: Timer, tmp_path: Path
) -> None:
    folder, now = tmp_path / "state", 1_000_000.0
    assert "no timer calls it" in str(killers.reaper(timer, folder, now).why)
    reaper_timer.install(timer, "cron")
    assert "has not called it yet" in str(killers.reaper(timer, folder, now).why)
    killers.stamp(folder, at=now, is_clear=True, ended=[])
    assert killers.reaper(timer, folder, now + 60).is_armed
    assert "called it last 1h ago" in str(killers.reaper(timer, folder, now + 3600).why)
    killers.stamp(folder, at=now, is_clear=False, ended=[])
    assert "could not ask or end" in str(killers.reaper(timer, folder, now).why)
