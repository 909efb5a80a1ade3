"""From the typed command to the file on disk (P15)."""

from __future__ import annotations

from pathlib import Path

from benchmarks import server
from benchmarks.measure import Row, interleave
from benchmarks.painter import Painter, painter

INFERENCE_S = 0.5
# Round trip in seconds → at most so much of what the older pair of commands adds to inference.
LIMITS = {0.0: 0.65, 0.040: 0.5, 0.100: 0.5}


def run(folder: Path, rounds: int, _full: bool) -> list[Row]:
    rows: list[Row] = []
    with (
        server.running(folder) as sshd,
        painter(folder / "painter", sshd, inference_s=INFERENCE_S) as program,
    ):
        for rtt_s, limit in LIMITS.items():
            with sshd.at(rtt_s) as distant:
                rows += _at(distant, program, rounds or 7, limit)
    return rows


def _at(distant: server.Server, program: Painter, rounds: int, limit: float) -> list[Row]:
    actions = {"gpuctl": program.picture(distant), "ssh + scp": program.older(distant)}
    found = interleave(actions, rounds, warm_up=2)
    added = {name: [took - INFERENCE_S for took in times] for name, times in found.times.items()}
    ratio = type(found)(added).ratio("gpuctl", "ssh + scp")
    where = f"{distant.rtt_s * 1000:.0f} ms" if distant.rtt_s else "loopback"
    return [
        Row("P15", f"cold gpuctl flux, added to inference, {where} / ssh + scp", ratio, limit,
            note=type(found)(added).note()),
        Row("–", f"the same with the {INFERENCE_S:g} s of inference",
            found.ratio("gpuctl", "ssh + scp"), note=found.note()),
    ]  # fmt: skip
