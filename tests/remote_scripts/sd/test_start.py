"""start.sh: both halves or neither, and the reason on stderr. A stand-in plays the WebUI."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.remote_scripts.worker.job_queue import FINAL, JobQueue
from tests.support.a1111_server import REMOTE_SCRIPTS

START = REMOTE_SCRIPTS / "sd/start.sh"
LIMIT_S = 30.0
# What `python -u launch.py … --port N …` does in each test.
SERVES = "tail -f /dev/null | exec {python} -B -m sd.sim_webui --port $port"
HANGS = "exec sleep 60"
DIES = "echo 'torch: CUDA driver is too old' >&2; exit 3"


class Container:
    """The files and the environment that start.sh finds in the image."""

    def __init__(self, folder: Path, launch: str) -> None:
        self.folder = folder
        self.port = _free_port()
        self.log = folder / "container.log"
        for name in ("webui", "models/Lora", "models/VAE"):
            (folder / name).mkdir(parents=True)
        (folder / "models/model.safetensors").write_bytes(b"weights")
        (folder / "models/Lora/lcm.safetensors").write_bytes(b"lora")
        python = folder / "python"
        python.write_text(
            "#!/bin/bash\n"
            f"printf '%s\\n' \"$@\" >'{folder}/flags'\n"
            'while [ $# -gt 0 ]; do [ "$1" = --port ] && port=$2; shift; done\n'
            f"cd '{REMOTE_SCRIPTS}'\n" + launch.format(python=sys.executable) + "\n"
        )
        python.chmod(0o755)
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "WEBUI_ROOT": str(folder / "webui"),
            "WEBUI_PYTHON": str(python),
            "WEBUI_PORT": str(self.port),
            "WEBUI_LOG": str(folder / "webui.log"),
            "WORKER_PYTHON": sys.executable,
            "GPUCTL_SCRIPTS": str(REMOTE_SCRIPTS),
            "GPUCTL_SD_MODELS": str(folder / "models"),
            "GPUCTL_SD_WEBUI_URL": f"http://127.0.0.1:{self.port}",
            "GPUCTL_WORKSPACE": str(folder / "workspace"),
            "MODEL_NAME": "nobody-has-this",
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *argv: str, **environ: str) -> subprocess.Popen[bytes]:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["bash", str(START), *argv],
                env={**self.environ, **environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self.process

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def left_over(self) -> list[int]:
        """Processes that still live of those that were started here."""
        mark = f"WEBUI_ROOT={self.folder}/webui".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                is_ours = mark in path.read_bytes()
            except OSError:
                continue
            if is_ours:
                found.append(int(path.parent.name))
        return found

    def end(self) -> None:
        for pid in self.left_over():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if self.process:
            self.process.wait(LIMIT_S)


Make = Callable[[str], Container]


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Make]:
    if shutil.which("bash") is None:
        pytest.skip("no bash")
    made: list[Container] = []

    def make(launch: str) -> Container:
        made.append(Container(tmp_path, launch))
        return made[-1]

    yield make
    for each in made:
        each.end()


@pytest.fixture
def jobs() -> Iterator[JobQueue]:
    found = JobQueue()
    yield found
    found.close()


def test_a_worker_on_an_endpoint_paints_with_the_webui_beside_it(
    container: Make, jobs: JobQueue
) -> None:
    one = container(SERVES)
    process = one.start(**jobs.environment())
    jobs.put("J1", prompt="x", width=64, height=64, steps=1, seed=1)
    until(lambda: jobs.jobs["J1"]["status"] in FINAL)
    assert jobs.jobs["J1"]["status"] == "COMPLETED", jobs.jobs["J1"]
    flags = (one.folder / "flags").read_text().split("\n")
    assert flags[flags.index("--server-name") + 1] == "127.0.0.1"
    assert "--nowebui" in flags
    (linked,) = (one.folder / "webui/models/Lora").iterdir()
    assert (linked / "lcm.safetensors").read_bytes() == b"lora"
    until(lambda: "the WebUI answers" in one.said())
    assert subprocess.run(["bash", str(START), "check"], env=one.environ).returncode == 0
    process.send_signal(signal.SIGTERM)
    assert process.wait(LIMIT_S) == 143
    until(lambda: one.left_over() == [])


def test_a_webui_that_dies_ends_the_container_with_its_last_lines(
    container: Make, jobs: JobQueue
) -> None:
    one = container(DIES)
    assert one.start(**jobs.environment()).wait(LIMIT_S) == 1
    assert "the WebUI has died (exit 3)" in one.said()
    assert "CUDA driver is too old" in one.said()
    until(lambda: one.left_over() == [])


def test_a_webui_that_dies_later_takes_the_worker_with_it(container: Make, jobs: JobQueue) -> None:
    one = container(SERVES)
    process = one.start(**jobs.environment())
    jobs.put("J1", prompt="x", width=64, height=64, steps=1)
    until(lambda: jobs.jobs["J1"]["status"] in FINAL)
    killed = subprocess.run(["pgrep", "-f", f"sim_webui --port {one.port}"], capture_output=True)
    for pid in killed.stdout.split():
        os.kill(int(pid), signal.SIGKILL)
    assert process.wait(LIMIT_S) == 1
    assert "the WebUI has died" in one.said()
    until(lambda: one.left_over() == [])


def test_a_webui_that_never_answers_ends_the_container_at_its_deadline(
    container: Make, jobs: JobQueue
) -> None:
    one = container(HANGS)
    process = one.start(**jobs.environment(), GPUCTL_SD_READY_S="1")
    assert process.wait(LIMIT_S) == 1
    assert "the WebUI did not answer within 1 s" in one.said()
    until(lambda: one.left_over() == [])


def test_without_models_it_says_where_it_looked(container: Make) -> None:
    one = container(SERVES)
    (one.folder / "models/model.safetensors").unlink()
    assert one.start(PUBLIC_KEY="ssh-ed25519 AAAA me").wait(LIMIT_S) == 1
    assert "/runpod-volume/models/nobody-has-this" in one.said()


def test_a_flag_that_would_open_the_webui_to_the_world_is_refused(
    container: Make, jobs: JobQueue
) -> None:
    one = container(SERVES)
    process = one.start(**jobs.environment(), COMMANDLINE_ARGS="--xformers --listen")
    assert process.wait(LIMIT_S) == 2
    assert "--listen is refused" in one.said()


def test_with_nothing_that_could_bring_a_job_it_does_not_stay_and_bill(container: Make) -> None:
    one = container(SERVES)
    assert one.start().wait(LIMIT_S) == 2
    assert "nothing can bring a job" in one.said()
    until(lambda: one.left_over() == [])


def until(claim: Callable[[], Any]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not claim():
        assert time.monotonic() < deadline, "never came true"
        time.sleep(0.02)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port
