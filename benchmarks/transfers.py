"""Bringing files home, against scp over a ControlMaster with the same cipher (P11–P13)."""

from __future__ import annotations

import os
import threading
from functools import partial
from pathlib import Path

from benchmarks import server
from benchmarks.measure import Action, Rounds, Row, command, interleave
from benchmarks.server import Server
from gpuctl.remote.ssh import SshShell

BIG_BYTES, PICTURE_BYTES = 100_000_000, 2_000_000
LONG_RTT_S = 0.040
CIPHER = "aes128-gcm@openssh.com"
# Neither side waits for a disk.
MEMORY = Path("/dev/shm")


def run(folder: Path, rounds: int, _full: bool) -> list[Row]:
    files = MEMORY / folder.name
    files.mkdir()
    try:
        (files / "big").write_bytes(os.urandom(1 << 20) * (BIG_BYTES >> 20))
        (files / "picture").write_bytes(os.urandom(PICTURE_BYTES))
        with (
            server.running(folder) as near,
            near.at(LONG_RTT_S, is_steady=True) as steady,
            near.at(LONG_RTT_S) as slow,
        ):
            return [*_rows(near, steady, files, rounds), _slow(slow, files, rounds)]
    finally:
        for file in files.iterdir():
            file.unlink()
        files.rmdir()


def _rows(near: Server, far: Server, files: Path, rounds: int) -> list[Row]:
    here = _compare(near, files, "big", rounds or 5)
    there = _compare(far, files, "big", rounds or 5, two=True)
    small = _compare(far, files, "picture", rounds or 9)
    return [
        Row("P11", "100 MB, loopback: speed / scp", here.ratio("scp", "gpuctl"), 0.7, True,
            note=_speeds(here)),
        Row("P12", "100 MB, 40 ms: speed / scp", there.ratio("scp", "gpuctl"), 1.4, True,
            note=_speeds(there)),
        Row("P12", "over two connections (not used by gpuctl)", there.ratio("scp", "two"),
            note="half the file each; goal 1.9x"),
        Row("P13", "2 MB, 40 ms: speed / scp", small.ratio("scp", "gpuctl"), 4, True,
            note=small.note()),
        Row("P13", "the same, in round trips", small.ms("gpuctl") / (LONG_RTT_S * 1000), 3.5,
            unit=" RTT"),
    ]  # fmt: skip


def _slow(far: Server, files: Path, rounds: int) -> Row:
    found = _compare(far, files, "picture", rounds or 9)
    what = "2 MB, 40 ms, TCP starting slowly: speed / scp"
    note = f"{found.note()}; some seven round trips of both are the slow start"
    return Row("–", what, found.ratio("scp", "gpuctl"), note=note)


def _compare(at: Server, files: Path, name: str, rounds: int, *, two: bool = False) -> Rounds:
    source, home = files / name, files / "home"
    with at.master("-c", CIPHER) as shared, at.shell() as shell, at.shell() as other:
        actions: dict[str, Action] = {
            "scp": command([*at.scp(*shared), f"{at.target}:{source}", str(home)]),
            "gpuctl": partial(_get, shell, source, home),
        }
        if two:
            actions["two"] = partial(_halves, shell, other, source)
        return interleave(actions, rounds)


def _get(shell: SshShell, source: Path, home: Path) -> None:
    shell.get(str(source), home, size=source.stat().st_size)


def _halves(one: SshShell, other: SshShell, source: Path) -> None:
    half = source.stat().st_size // 2
    parts = (["head", "-c", str(half)], ["tail", "-c", f"+{half + 1}"])
    threads = [
        threading.Thread(target=_drain, args=(shell, [*part, str(source)]))
        for shell, part in zip((one, other), parts, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _drain(shell: SshShell, argv: list[str]) -> None:
    process = shell.start(argv)
    while process.read():
        pass
    process.close()


def _speeds(found: Rounds) -> str:
    return ", ".join(f"{name} {BIG_BYTES / found.ms(name) / 1000:.0f} MB/s" for name in found.times)
