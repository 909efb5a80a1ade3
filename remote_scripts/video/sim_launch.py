"""Sees to it that a simulated ComfyUI runs for this workspace: one, whoever asks."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from video.comfy_client import Comfy, Unreachable
from video.models import volume
from worker.layout import SCRIPTS
from worker.report import Failure

START_S = 30.0
POLL_S = 0.05


def is_wanted() -> bool:
    """In the simulator, unless a server was named."""
    return os.environ.get("GPUCTL_ENGINE") == "sim" and not os.environ.get("SERVER_ADDRESS")


def running(workspace: Path) -> Comfy | None:
    """The one of this workspace, if it answers."""
    try:
        said = json.loads((workspace / "run/video.comfyui.json").read_text(encoding="utf-8"))
        comfy = Comfy("127.0.0.1", int(said["port"]))
        comfy.stats()
    except (OSError, ValueError, KeyError, Unreachable):
        return None
    return comfy


def ensured(workspace: Path) -> Comfy:
    """The one of this workspace, started when there is none. Raises Failure."""
    run = workspace / "run"
    run.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (run / "video.comfyui.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return running(workspace) or _start(workspace, run)


def _start(workspace: Path, run: Path) -> Comfy:
    announce = run / "video.comfyui.json"
    announce.unlink(missing_ok=True)
    folder = workspace / ".comfyui"
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-B", "-m", "video.sim_comfyui"]
    options = ["--folder", str(folder), "--volume", str(volume()), "--announce", str(announce)]
    mode = ["--mode", os.environ.get("GPUCTL_SIM_COMFYUI", "new")]
    with (run / "video.comfyui.log").open("ab") as log:
        process = subprocess.Popen(
            [*command, *options, *mode],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=SCRIPTS,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(Failure):
            if announce.exists() and (comfy := running(workspace)):
                return comfy
        time.sleep(POLL_S)
    said = (run / "video.comfyui.log").read_text(encoding="utf-8", errors="replace")[-800:]
    raise Failure("worker_died", f"the simulated ComfyUI did not start: {said.strip()}")
