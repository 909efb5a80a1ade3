"""One connection that carries much: nothing fails, nothing stalls (P14)."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

from benchmarks import server
from benchmarks.measure import Row
from benchmarks.server import Server

PICTURE_BYTES = 2 << 20
STREAM_BYTES = 512 << 20
STALL_S = 2.0
# paramiko's own re-key comes at 512 MiB, which is picture 256.
SHORT, FULL = 270, 600
FULL_RTT_S = 0.040


def run(folder: Path, _rounds: int, full: bool) -> list[Row]:
    """With `full` 600 pictures at 40 ms, else 270 on loopback."""
    with server.running(folder) as near, near.at(FULL_RTT_S if full else 0.0) as at:
        return [*_pictures(at, folder, FULL if full else SHORT), _stream(near)]


def _pictures(at: Server, folder: Path, count: int) -> list[Row]:
    source, home = folder / "picture", folder / "home"
    source.write_bytes(os.urandom(PICTURE_BYTES))
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    longest_s, whole = 0.0, 0
    began = time.monotonic()
    with at.shell() as shell:
        for _ in range(count):
            started = time.monotonic()
            shell.get(str(source), home, size=PICTURE_BYTES, sha256=digest)
            longest_s = max(longest_s, time.monotonic() - started)
            whole += home.stat().st_size == PICTURE_BYTES
    where = f"{at.rtt_s * 1000:.0f} ms" if at.rtt_s else "loopback"
    note = f"{time.monotonic() - began:.0f} s in all"
    return [
        Row("P14", f"whole pictures of {count}, {where}", whole, count, True, "", note),
        Row("P14", "the longest of them", longest_s, STALL_S, unit=" s"),
    ]


def _stream(at: Server) -> Row:
    arrived, longest_s = 0, 0.0
    with at.shell() as shell:
        process = shell.start(["head", "-c", str(STREAM_BYTES), "/dev/zero"])
        before = time.monotonic()
        while data := process.read():
            now = time.monotonic()
            longest_s, before = max(longest_s, now - before), now
            arrived += len(data)
        code = process.wait()
        process.close()
    what = "bytes that 512 MiB over one exec lost"
    missing = STREAM_BYTES - arrived
    return Row(
        "P14", what, missing, 0, unit="", note=f"exit {code}, longest pause {longest_s:.2f} s"
    )
