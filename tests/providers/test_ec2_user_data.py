"""The user data arms the end before anything else, and whatever fails afterwards leaves it armed.

It runs for real, in a folder of its own, with nothing on its PATH but what is put there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from gpuctl import resources
from gpuctl.services.ec2_script import user_data
from tests.support.simulator import until

TOOLS = ("sh", "mkdir", "mv", "cat", "date", "chmod", "head", "touch")
FAKES = ("shutdown", "poweroff", "docker", "usermod", "nvidia-smi", "sleep", "nohup")


@dataclass(frozen=True)
class Sandbox:
    folder: Path

    @property
    def disk(self) -> Path:
        return self.folder / "disk"

    def fake(self, name: str, script: str = "exit 0") -> None:
        """A program that writes down that it was called, then does what `script` says."""
        program = self.folder / "bin" / name
        log = self.folder / "calls"
        program.write_text(f'#!/bin/sh\necho "{name} $*" >>"{log}"\n{script}\n', encoding="utf-8")
        program.chmod(0o755)

    def without(self, name: str) -> None:
        (self.folder / "bin" / name).unlink()

    def run(self, script: str, root: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.folder / "bin/sh"), "-c", script],
            env={"PATH": str(self.folder / "bin"), "GPUCTL_ROOT": str(root or self.disk)},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    @property
    def calls(self) -> list[str]:
        log = self.folder / "calls"
        return log.read_text(encoding="utf-8").splitlines() if log.is_file() else []

    @property
    def verdict(self) -> str:
        return (self.disk / "var/lib/gpuctl/bootstrap").read_text(encoding="utf-8").strip()


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    (tmp_path / "bin").mkdir()
    (tmp_path / "disk").mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found is not None
        (tmp_path / "bin" / tool).symlink_to(found)
    made = Sandbox(tmp_path)
    for name in FAKES:
        made.fake(name)
    return made


def test_the_end_is_armed_before_anything_else_runs(sandbox: Sandbox) -> None:
    done = sandbox.run(user_data(90, "ubuntu"))
    assert done.returncode == 0, done.stderr
    assert sandbox.calls[0].startswith("shutdown -P +90 ")
    assert sandbox.verdict == "ready"
    assert "usermod -aG docker ubuntu" in sandbox.calls
    assert not any("-c" in call.split() for call in sandbox.calls), "nothing takes the timer back"


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("docker", "the docker engine does not answer"),
        ("usermod", "ubuntu cannot be let in to docker"),
        ("nvidia-smi", "nvidia-smi: no devices"),
    ],
)
def test_a_step_that_fails_is_named_and_leaves_the_timer(
    sandbox: Sandbox, broken: str, said: str
) -> None:
    sandbox.fake(broken, "echo 'no devices'; exit 9")
    sandbox.run(user_data(90, "ubuntu"))
    assert sandbox.verdict == f"failed: {said}"
    assert sandbox.calls[0].startswith("shutdown -P +90 ")
    assert sum(call.startswith("shutdown") for call in sandbox.calls) == 1


@pytest.mark.parametrize("missing", ["docker", "mkdir", "date", "chmod", "mv", "cat", "usermod"])
def test_a_program_that_is_missing_leaves_the_timer(sandbox: Sandbox, missing: str) -> None:
    sandbox.without(missing)
    sandbox.run(user_data(90, "ubuntu"))
    assert sandbox.calls[0].startswith("shutdown -P +90 ")
    assert sum(call.startswith("shutdown") for call in sandbox.calls) == 1


def test_a_disk_that_takes_nothing_leaves_the_timer(sandbox: Sandbox) -> None:
    sandbox.run(user_data(90, "ubuntu"), root=Path("/proc/nothing"))
    assert sandbox.calls[0].startswith("shutdown -P +90 ")


def test_a_script_that_is_cut_off_anywhere_behind_its_first_line_leaves_the_timer(
    sandbox: Sandbox,
) -> None:
    lines = user_data(90, "ubuntu").splitlines()
    for length in range(2, len(lines), 7):
        (sandbox.folder / "calls").unlink(missing_ok=True)
        script = sandbox.folder / "cut"  # read line by line, as an interpreter does with a file
        script.write_text("\n".join(lines[:length]) + "\n", encoding="utf-8")
        sandbox.run(f'sh "{script}"')
        assert sandbox.calls[0].startswith("shutdown -P +90 "), length


def test_a_shutdown_that_refuses_is_replaced_by_a_sleep_that_powers_off(sandbox: Sandbox) -> None:
    sandbox.fake("shutdown", "exit 1")
    sandbox.fake("nohup", 'exec "$@"')
    sandbox.run(user_data(45, "ubuntu"))
    until(lambda: "sleep 2700" in sandbox.calls)
    until(lambda: any(call.startswith("poweroff -f") for call in sandbox.calls))
    assert sandbox.verdict == "ready", "the instance can be used all the same"


@pytest.mark.parametrize(("left_s", "minutes"), [(600, 10), (-50, 1)])
def test_a_reboot_arms_what_is_left(sandbox: Sandbox, left_s: int, minutes: int) -> None:
    sandbox.run(user_data(90, "ubuntu"))
    now = int(subprocess.check_output(["date", "+%s"]))
    (sandbox.disk / "var/lib/gpuctl/deadline").write_text(str(now + left_s), encoding="utf-8")
    (sandbox.folder / "calls").unlink()
    timer = sandbox.disk / "var/lib/cloud/scripts/per-boot/gpuctl-timer"
    assert os.access(timer, os.X_OK)
    sandbox.run(f'GPUCTL_SCHEDULED="{sandbox.folder}/none" sh "{timer}"')
    assert sandbox.calls[0].startswith(f"shutdown -P +{minutes} ")
    (sandbox.folder / "waits").write_text("USEC=1\n", encoding="utf-8")
    (sandbox.folder / "calls").unlink()
    sandbox.run(f'GPUCTL_SCHEDULED="{sandbox.folder}/waits" sh "{timer}"')
    assert sandbox.calls == [], "one that waits already is left alone"


def test_shellcheck_finds_nothing(tmp_path: Path) -> None:
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not installed: apt install shellcheck")
    shipped = resources.bundled("remote_scripts") / "ec2" / "user_data.sh"
    rendered = tmp_path / "rendered.sh"
    rendered.write_text(user_data(45, "admin"), encoding="utf-8")
    for script in (shipped, rendered):
        done = subprocess.run(
            [shellcheck, "-s", "sh", "-S", "style", str(script)], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout
