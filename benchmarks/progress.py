"""How long after a worker's step a person sees it on the terminal (P19)."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
import time
from pathlib import Path

from benchmarks import server
from benchmarks.measure import Row
from benchmarks.painter import Painter, painter
from benchmarks.server import Server

STEPS, STEP_S = 200, 0.025
RTTS_S = (0.0, 0.040)
LIMIT_MS = 30.0
_SHOWN = re.compile(rb"(\d+)/%d" % STEPS)


def run(folder: Path, _rounds: int, _full: bool) -> list[Row]:
    with (
        server.running(folder) as sshd,
        painter(folder / "painter", sshd, inference_s=STEPS * STEP_S, steps=STEPS) as program,
    ):
        program.picture(sshd)()  # ships the scripts and starts the worker
        rows = []
        for rtt_s in RTTS_S:
            with sshd.at(rtt_s) as distant:
                rows.append(_at(distant, program))
    return rows


def _at(distant: Server, program: Painter) -> Row:
    shown = _watch(program.flux(distant), program)
    waits_ms = sorted(
        (_first(shown, step) - written) * 1000 for step, written in enumerate(program.stamps(), 1)
    )
    half_ms = distant.rtt_s * 500
    where = f"{distant.rtt_s * 1000:.0f} ms" if distant.rtt_s else "loopback"
    what = f"a step written → on the terminal, p95 of {len(waits_ms)}, {where}"
    note = f"half a round trip is {half_ms:.0f} ms; median {_at_share(waits_ms, 0.5):.1f} ms"
    return Row("P19", what, _at_share(waits_ms, 0.95), half_ms + LIMIT_MS, unit=" ms", note=note)


def _watch(argv: list[str], program: Painter) -> list[tuple[int, float]]:
    """Every count of steps that gpuctl writes to its terminal, and when."""
    mine, its = pty.openpty()
    env = program.env | {"TERM": "xterm-256color", "COLUMNS": "100"}
    child = subprocess.Popen(argv, stdin=its, stdout=its, stderr=its, env=env, cwd=program.folder)
    os.close(its)
    shown: list[tuple[int, float]] = []
    with contextlib.suppress(OSError):  # how Linux says that the last writer has gone
        while data := os.read(mine, 65536):
            now = time.monotonic()
            shown += [(int(step), now) for step in _SHOWN.findall(data)]
    os.close(mine)
    if child.wait() != 0 or not shown:
        raise RuntimeError(f"gpuctl ended with {child.returncode}, {len(shown)} steps seen")
    return shown


def _first(shown: list[tuple[int, float]], step: int) -> float:
    """When that step, or one after it, came to be seen."""
    return next((when for seen, when in shown if seen >= step), float("inf"))


def _at_share(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
