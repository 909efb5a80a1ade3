"""The watch itself: look, decide, write down, and end the machine when it is time."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from watchdog import clock, files
from watchdog import lease as leases
from watchdog.activity import Activity, running_jobs
from watchdog.ending import Killer, Refused, environment
from watchdog.lease import Lease
from watchdog.rescue import rescue

Json = dict[str, Any]
TICK_S = 10.0
NUDGE_S = 0.2  # real seconds
# The key is asked again now and then: one that was revoked must not pass for armed.
PROVE_EVERY_S, PROVE_AGAIN_S = 600.0, 30.0
RETRY_FIRST_S, RETRY_MOST_S = 5.0, 60.0
# An accepted end that has not happened by then is asked for again.
SETTLE_S = 60.0


class Watch:
    """One per machine, for as long as it lives."""

    def __init__(self, folder: files.Folder, script: str) -> None:
        self._folder, self._script = folder, script
        self._killer = Killer(environment(), folder.path.name)
        self._lease: Lease | None = None
        self._began = self._active_at = clock.now()
        self._activity = Activity(folder.workspace, 5.0)
        self._holding: list[str] = []
        self._proved, self._prove_at = "", 0.0
        self._key_error = "not asked yet"
        self._retry_at, self._pause_s = 0.0, RETRY_FIRST_S
        self._state, self._error, self._saved = "watching", "", ""

    def run(self) -> None:
        """Until the machine ends, or a newer version of us takes over."""
        while self.tick():
            self._wait()

    def tick(self) -> bool:
        """One look. False when a newer version shall take over."""
        self._read_lease()
        if self._lease and self._lease.script and self._lease.script != self._script:
            return False
        self._prove()
        self._look()
        action = self._due()
        if action != self._state:
            self._retry_at = 0.0
        self._state = action or "watching"
        self._write()
        if action in ("stop", "terminate") and clock.now() >= self._retry_at:
            self._end(action)
            self._write()
        return True

    def _wait(self) -> None:
        """A tick, cut short by a new lease: whoever sent it waits for our answer."""
        until, seen = clock.now() + TICK_S, self._lease_change()
        while clock.now() < until and self._lease_change() == seen:
            time.sleep(min(NUDGE_S, TICK_S / clock.FACTOR))

    def _lease_change(self) -> int:
        try:
            return self._folder.lease.stat().st_mtime_ns
        except OSError:
            return 0

    def _read_lease(self) -> None:
        """A lease that is gone or damaged changes nothing: the last one holds."""
        found = leases.parsed(files.read(self._folder.lease))
        if found is None or (self._lease and found.serial == self._lease.serial):
            return
        self._lease = found
        self._active_at = clock.now()
        self._retry_at = 0.0
        self._activity = Activity(self._folder.workspace, found.gpu_idle_percent)

    def _prove(self) -> None:
        if clock.now() < self._prove_at:
            return
        try:
            self._proved, self._key_error = self._killer.prove(), ""
            self._prove_at = clock.now() + PROVE_EVERY_S
        except Refused as refusal:
            self._proved, self._key_error = "", str(refusal)
            self._prove_at = clock.now() + PROVE_AGAIN_S

    def _look(self) -> None:
        self._holding = self._activity.look()
        if self._holding:
            self._active_at = clock.now()

    def _due(self) -> str | None:
        """What is to be done now: drain, stop or terminate."""
        lease = self._lease
        if lease is None:
            return None
        if _is_over(lease, lease.end_in_s):
            return lease.at_deadline
        if _is_over(lease, lease.drain_in_s):
            return "drain" if running_jobs(self._folder.workspace) else lease.at_deadline
        left = self._idle_left_s()
        return "stop" if left is not None and left <= 0 else None

    def _idle_left_s(self) -> float | None:
        if self._lease is None or self._lease.idle_stop_s is None:
            return None
        idle_s = clock.now() - self._active_at
        grace_left_s = self._lease.boot_grace_s - (clock.now() - self._began)
        return max(self._lease.idle_stop_s - idle_s, grace_left_s)

    def _end(self, action: str) -> None:
        """One attempt. Whatever comes of it, there is a next one while we live."""
        lease = self._lease
        if action == "terminate" and lease is not None:
            self._saved = rescue(
                self._folder.workspace,
                lease.volume_path,
                self._killer.pod_id,
                lambda: _is_over(lease, lease.end_in_s),
            )
            self._write()
        try:
            way = self._killer.end(action)
        except Refused as refusal:
            self._error = f"{action} was refused: {refusal}"
            _log(self._error)
            self._retry_at = clock.now() + self._pause_s
            self._pause_s = min(RETRY_MOST_S, self._pause_s * 2)
        else:
            self._error, self._pause_s = "", RETRY_FIRST_S
            self._retry_at = clock.now() + SETTLE_S
            _log(f"{action} was accepted ({way})")

    def _write(self) -> None:
        lease = self._lease
        idle_left_s = self._idle_left_s()
        status: Json = {
            "v": 1,
            "version": self._script,
            "pid": os.getpid(),
            "tick": time.time(),
            "serial": lease.serial if lease else None,
            "armed": bool(lease and self._proved),
            "key": f"accepted ({self._proved})" if self._proved else self._key_error,
            "remaining_s": lease.left_s(lease.drain_in_s) if lease else None,
            "end_in_s": lease.left_s(lease.end_in_s) if lease else None,
            "is_warning": bool(lease and _is_over(lease, lease.warn_in_s)),
            "idle_s": round(clock.now() - self._active_at, 1),
            "idle_stop_in_s": None if idle_left_s is None else round(idle_left_s, 1),
            "holding": self._holding,
            "gpu_percent": self._activity.gpu_percent,
            "state": self._state,
            "saved": self._saved,
            "error": self._error,
        }
        try:
            files.write(self._folder.status, status)
        except OSError as error:  # a full disk must not keep us from ending the machine
            _log(f"status: {error}")


def _is_over(lease: Lease, span_s: float | None) -> bool:
    left_s = lease.left_s(span_s)
    return left_s is not None and left_s <= 0


def _log(text: str) -> None:
    try:
        sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {text}\n")
        sys.stderr.flush()
    except OSError:
        return


def spare_from_oom() -> None:
    """When memory runs out, the models go first. Not every container allows it."""
    try:
        Path("/proc/self/oom_score_adj").write_text("-900", encoding="ascii")
    except OSError:
        return
