"""Images an hour when the model stays loaded, against a process per image (P18)."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from benchmarks import server
from benchmarks.measure import Row, interleave
from benchmarks.painter import Painter, painter
from benchmarks.server import Server

LOAD_S, INFERENCE_S = 2.0, 0.1


def run(folder: Path, rounds: int, full: bool) -> list[Row]:
    """With `full` 20 pictures each way, else 5."""
    count = rounds or (20 if full else 5)
    with (
        server.running(folder) as sshd,
        painter(folder / "painter", sshd, inference_s=INFERENCE_S, load_s=LOAD_S) as program,
    ):
        loads = [_load_s(program, sshd) for _ in range(2)]
        actions = {"gpuctl": program.picture(sshd), "ssh + scp": program.older(sshd)}
        found = interleave(actions, count, warm_up=0)
    return [
        Row("P18", f"{count} pictures, model of {LOAD_S:g} s: images per hour / process per image",
            found.ratio("ssh + scp", "gpuctl"), 5, True, note=found.note()),
        Row("P18", "load of the second picture", loads[1], 0, unit=" s",
            note=f"of the first: {loads[0]:g} s"),
    ]  # fmt: skip


def _load_s(program: Painter, at: Server) -> float:
    where = f"{at.target}:{at.port}"
    argv = program.gpuctl("--json", "flux", "a fox", "--on", where, "--no-enhance", "--no-open")
    done = subprocess.run(
        argv, cwd=program.folder, env=program.env, capture_output=True, check=True
    )
    return float(json.loads(done.stdout)["data"]["timings"]["load_s"])
