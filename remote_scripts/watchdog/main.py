"""`run.py watchdog MACHINE arm|read|run SCRIPT`: arm and read answer with one JSON document."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

from watchdog import clock, files
from watchdog.loop import Watch, spare_from_oom

Json = dict[str, Any]
# Real seconds: how long a new watchdog may take to its first look (the key is asked over the net).
ARM_LIMIT_S = 30.0
STEP_DOWN_LIMIT_S = 30.0
RESTART_PAUSE_S = 5.0
POLL_S = 0.02
RUN_PY = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "run.py")  # noqa: PTH118, PTH120, PTH100


def main(_verb: str, argv: list[str]) -> int:
    """Exit codes: 0 ok, 2 usage."""
    if len(argv) != 3 or argv[1] not in ("arm", "read", "run", "guard"):
        sys.stderr.write("usage: run.py watchdog MACHINE arm|read|run SCRIPT\n")
        return 2
    machine_id, verb, script = argv
    folder = files.Folder(machine_id)
    if verb == "arm":
        sys.stdout.write(json.dumps(arm(folder, machine_id, script)) + "\n")
    elif verb == "read":
        sys.stdout.write(json.dumps(read(folder)) + "\n")
    elif verb == "guard":
        guard(machine_id, script)
    else:
        run(folder, script)
    return 0


def arm(folder: files.Folder, machine_id: str, script: str) -> Json:
    """Takes a lease from stdin, makes sure that somebody watches it, and reads that back."""
    lease = json.loads(sys.stdin.readline())
    folder.make()
    files.write(folder.lease, {**lease, "script": script, "received": clock.stamp()})
    status = files.read(folder.status) or {}
    is_ours = files.is_held(folder.lock) and status.get("version") == script
    if not is_ours:
        folder.status.unlink(missing_ok=True)
        _start(folder, machine_id, script)
    deadline = time.monotonic() + ARM_LIMIT_S
    while time.monotonic() < deadline:
        found = read(folder)
        told = found["status"] or {}
        if told.get("serial") == lease["serial"] and told.get("version") == script:
            return found
        time.sleep(POLL_S)
    return read(folder)


def read(folder: files.Folder) -> Json:
    """What the watchdog says of itself, and whether it lives. Ages are by one clock: this one's."""
    status = files.read(folder.status)
    return {
        "alive": files.is_held(folder.lock),
        "age_s": None if status is None else round(time.time() - status["tick"], 1),
        "status": status,
        "log": _tail(folder),
    }


def run(folder: files.Folder, script: str) -> None:
    """Watches, as the only one of this machine."""
    folder.make()
    deadline = time.monotonic() + STEP_DOWN_LIMIT_S
    lock = files.take(folder.lock)
    while lock is None:
        _step_down(folder, script, force=time.monotonic() > deadline)
        time.sleep(POLL_S)
        lock = files.take(folder.lock)
    spare_from_oom()
    Watch(folder, script).run()


def guard(machine_id: str, script: str) -> None:
    """Starts the watch again if it dies; ends when it says that it is done."""
    while True:
        argv = [sys.executable, "-B", RUN_PY, "watchdog", machine_id, "run", script]
        if subprocess.run(argv, stdin=subprocess.DEVNULL, check=False).returncode in (0, -15):
            return
        time.sleep(RESTART_PAUSE_S)


def _start(folder: files.Folder, machine_id: str, script: str) -> None:
    """Detached from the ssh session, which would take it along at its end."""
    with folder.log.open("ab") as log:
        subprocess.Popen(
            [sys.executable, "-B", RUN_PY, "watchdog", machine_id, "guard", script],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )


def _step_down(folder: files.Folder, script: str, *, force: bool) -> None:
    """An older version goes at its next look; one that does not is ended."""
    status = files.read(folder.status) or {}
    pid = status.get("pid")
    if force and isinstance(pid, int) and status.get("version") != script:
        try:
            os.kill(pid, signal.SIGTERM)
        except OSError:
            return
    if status.get("version") == script:
        sys.exit(0)  # another of our version won the race


def _tail(folder: files.Folder, lines: int = 3) -> list[str]:
    try:
        return folder.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
    except OSError:
        return []
