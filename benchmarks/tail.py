"""From "done" on the machine to the file here, against asking once a second (P16)."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import server
from benchmarks.measure import Rounds, Row, interleave
from benchmarks.painter import Painter, painter
from benchmarks.server import Server

# The first question comes at once, so half a period is where "done" falls on average.
POLL_S, INFERENCE_S = 1.0, 0.5
# Round trip in seconds, and whether TCP keeps its window over the inference, as with bbr.
LINES = ((0.0, False), (0.040, False), (0.040, True))
LIMIT = 0.1


def run(folder: Path, rounds: int, _full: bool) -> list[Row]:
    with (
        server.running(folder) as sshd,
        painter(folder / "painter", sshd, inference_s=INFERENCE_S) as program,
    ):
        rows = []
        for rtt_s, is_steady in LINES:
            with sshd.at(rtt_s, is_steady=is_steady) as distant, distant.master() as shared:
                rows += _at(distant, program, shared, rounds or 7, " steady" if is_steady else "")
    return rows


def _at(distant: Server, program: Painter, shared: list[str], rounds: int, kind: str) -> list[Row]:
    home = program.folder / "home.png"
    paint = program.picture(distant, "--out", str(home))
    on_disk_s: list[float] = []

    def follow() -> float:
        home.unlink(missing_ok=True)
        paint()
        ended = time.monotonic()
        on_disk_s.append(ended - (time.time() - home.stat().st_ctime) - program.stamps()[-1])
        return ended - program.stamps()[-1]

    actions = {"gpuctl": follow, "polling": _polling(distant, program, shared)}
    found = interleave(actions, rounds)
    disk = Rounds({**found.times, "on disk": on_disk_s[-rounds:]})
    where = f"{distant.rtt_s * 1000:.0f} ms" if distant.rtt_s else "loopback"
    where += kind
    return [
        Row("P16", f"done → whole file on disk, {where} / asking each second, scp",
            disk.ratio("on disk", "polling"), LIMIT, note=disk.note("on disk", "polling")),
        Row("–", f"done → gpuctl has ended, {where}", found.ratio("gpuctl", "polling"),
            note=found.note("gpuctl")),
    ]  # fmt: skip


def _polling(at: Server, program: Painter, shared: list[str]) -> Callable[[], float]:
    """A live ControlMaster; the picture is renamed when it is whole, as gpuctl's worker does."""
    remote, home = program.folder / "polled.png", program.folder / "polled-home.png"
    part = remote.with_suffix(".part")
    paint = f"{program.generate(part)} && mv {part} {remote}"
    start = f"rm -f {remote}; ({paint}) </dev/null >/dev/null 2>&1 &"
    ssh = [*at.ssh(*shared), at.target]

    def poll() -> float:
        subprocess.run([*ssh, start], check=True)
        while subprocess.run([*ssh, f"test -f {remote}"]).returncode != 0:
            time.sleep(POLL_S)
        fetch = at.scp(*shared, f"{at.target}:{remote}", str(home))
        subprocess.run(fetch, check=True)
        return time.monotonic() - program.stamps()[-1]

    return poll
