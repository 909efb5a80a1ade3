"""The user data in a root file system of its own: the paths that it writes on a real instance."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from gpuctl.services.ec2_script import user_data

pytestmark = [
    pytest.mark.docker,  # busybox-static comes with what the images are tested with
    pytest.mark.skipif(shutil.which("busybox") is None, reason="no static busybox here"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may change its root"),
]
CHROOT = Path("/usr/sbin/chroot")
APPLETS = ("sh", "mkdir", "mv", "cat", "date", "chmod", "head", "touch", "sleep", "nohup")
FAKES = ("shutdown", "poweroff", "docker", "usermod", "nvidia-smi")


@pytest.fixture
def instance(tmp_path: Path) -> Path:
    """A disk with busybox on it, and programs that write down that they were called."""
    root = tmp_path / "instance"
    (root / "bin").mkdir(parents=True)
    for name in ("var", "run", "tmp", "dev"):  # what goes to /dev/null lands in a file
        (root / name).mkdir()
    busybox = shutil.which("busybox")
    assert busybox is not None
    shutil.copy(busybox, root / "bin/busybox")
    for name in APPLETS:
        (root / "bin" / name).symlink_to("busybox")
    for name in FAKES:
        fake(root, name)
    return root


def fake(root: Path, name: str, script: str = "exit 0") -> None:
    program = root / "bin" / name
    program.write_text(f'#!/bin/sh\necho "{name} $*" >>/calls\n{script}\n', encoding="utf-8")
    program.chmod(0o755)


def boot(root: Path, command: str = "/user-data") -> list[str]:
    """What was called, in order. Nothing of this computer's environment or disk is there."""
    (root / "user-data").write_text(user_data(90, "ubuntu"), encoding="utf-8")
    (root / "user-data").chmod(0o755)
    argv = [str(CHROOT), str(root), "/bin/sh", command]
    subprocess.run(argv, env={"PATH": "/bin"}, capture_output=True, timeout=30, check=False)
    return (root / "calls").read_text(encoding="utf-8").splitlines()


def test_an_instance_arms_its_end_first_and_leaves_word_where_gpuctl_reads_it(
    instance: Path,
) -> None:
    calls = boot(instance)
    assert calls[0] == "shutdown -P +90 gpuctl: this instance ends by itself"
    assert (instance / "var/lib/gpuctl/bootstrap").read_text().strip() == "ready"
    assert int((instance / "var/lib/gpuctl/deadline").read_text()) > 0
    assert os.access(instance / "var/lib/cloud/scripts/per-boot/gpuctl-timer", os.X_OK)


@pytest.mark.parametrize("broken", ["docker", "usermod", "nvidia-smi", "mkdir", "date"])
def test_whatever_fails_behind_it_the_end_stays_armed(instance: Path, broken: str) -> None:
    fake(instance, broken, "exit 9") if broken in FAKES else (instance / "bin" / broken).unlink()
    if broken == "docker":
        (instance / "bin/sleep").unlink()
        fake(instance, "sleep")
    calls = boot(instance)
    assert calls[0].startswith("shutdown -P +90 ")
    assert sum(call.startswith("shutdown") for call in calls) == 1, "nothing takes it back"


def test_a_later_boot_arms_what_is_left(instance: Path) -> None:
    boot(instance)
    (instance / "calls").unlink()
    calls = boot(instance, "/var/lib/cloud/scripts/per-boot/gpuctl-timer")
    assert calls[0].startswith(("shutdown -P +90 ", "shutdown -P +89 "))
