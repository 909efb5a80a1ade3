"""The picture is shown where there is a screen, whatever its name is made of."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest

from gpuctl.services import viewer
from gpuctl.services.viewer import Launch, launch_for

NASTY = Path('/tmp/it\'s "a" fox; $(reboot) `x` & ’quoted’.png')


def never(path: Path) -> str | None:
    raise AssertionError("only WSL has Windows paths")


@pytest.mark.parametrize(
    ("platform", "environ", "launch"),
    [
        ("linux", {"DISPLAY": ":0"}, Launch(("xdg-open", str(NASTY)))),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0"}, Launch(("xdg-open", str(NASTY)))),
        ("linux", {}, None),
        ("darwin", {}, Launch(("open", str(NASTY)))),
        ("win32", {}, None),
    ],
)
def test_each_platform_has_its_program(
    platform: str, environ: dict[str, str], launch: Launch | None
) -> None:
    assert launch_for(NASTY, platform=platform, environ=environ, windows_path=never) == launch


def test_wsl_passes_the_windows_path_as_data_and_a_constant_command() -> None:
    windows = r"\\wsl.localhost\Debian\tmp\it's ’a’ $(reboot) fox.png"
    launch = launch_for(
        NASTY,
        platform="linux",
        environ={"WSL_DISTRO_NAME": "Debian", "DISPLAY": ":0", "WSLENV": "A/p"},
        windows_path=lambda path: windows if path == NASTY else None,
    )
    assert launch is not None
    assert launch.argv[0] == "powershell.exe"
    assert launch.argv[-1] == "Invoke-Item -LiteralPath $env:GPUCTL_PICTURE"
    assert launch.environ == {"GPUCTL_PICTURE": windows, "WSLENV": "A/p:GPUCTL_PICTURE"}


def test_a_name_that_looks_like_an_option_is_made_a_path() -> None:
    launch = launch_for(Path("-rf.png"), platform="darwin", environ={}, windows_path=never)
    assert launch == Launch(("open", str(Path.cwd() / "-rf.png")))


def test_the_viewer_is_started_with_the_exact_path_and_not_waited_for(tmp_path: Path) -> None:
    picture = tmp_path / "it's $(x) a fox.png"
    picture.write_bytes(b"")
    gate, told = tmp_path / "gate", tmp_path / "told"
    os.mkfifo(gate)
    program = tmp_path / "bin" / "xdg-open"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nread -r _ <"{gate}"\nprintf %s "$1" >"{told}.part"\n'
                       f'mv "{told}.part" "{told}"\n')  # fmt: skip
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    environ = {"PATH": f"{program.parent}:{os.environ['PATH']}", "DISPLAY": ":0"}
    # It returns while the viewer still hangs at the gate.
    assert viewer.open_file(picture, platform="linux", environ=environ)
    assert not told.exists()
    gate.write_text("\n")
    deadline = time.monotonic() + 10
    while not told.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert told.read_text() == str(picture)
    assert viewer._started.pop().wait(10) == 0


def test_no_screen_and_no_program_fail_nothing(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    nowhere = {"PATH": str(tmp_path)}
    assert not viewer.open_file(picture, platform="linux", environ=nowhere)
    for environ in ({"DISPLAY": ":0"}, {"WSL_DISTRO_NAME": "Debian"}):
        assert not viewer.open_file(picture, platform="linux", environ={**nowhere, **environ})
