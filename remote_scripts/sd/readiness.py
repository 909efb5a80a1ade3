"""Waits for the WebUI to answer, with a deadline, and says so while it waits."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import time
from pathlib import Path

from sd.webui import Gone, Refused, Webui, named
from worker import report
from worker.report import Failure

# The first start reads a checkpoint and may compile for the card.
READY_LIMIT_S = 600.0
_POLL_S = 0.5
_TOLD_EVERY_S = 5.0
_stand_in: list[tuple[subprocess.Popen[bytes], Webui]] = []


def ready(limit_s: float | None = None) -> tuple[Webui, float]:
    """The WebUI that answers, and the seconds that took. In the simulator it is the stand-in.

    Raises Failure when none does within `limit_s` (GPUCTL_SD_READY_S, 600).
    """
    began = time.monotonic()
    webui = _simulated() if is_simulated() else Webui.from_environment()
    limit_s = _limit() if limit_s is None else limit_s
    told = 0.0
    while True:
        reason = _answers(webui)
        spent = time.monotonic() - began
        if reason is None:
            return webui, spent
        if not _may_come():
            raise Failure(
                "unsupported",
                f"this machine has no WebUI: nothing at {webui.address}, nothing in {_root()}",
                "deploy sd with its own image, or set GPUCTL_SD_WEBUI_URL to one that runs",
            )
        if spent >= limit_s:
            raise _never(webui, limit_s, reason)
        if spent >= told:
            report.loading("webui", f"waiting for the WebUI ({reason})", round(spent), limit_s)
            told += _TOLD_EVERY_S
        report.check_cancelled()
        time.sleep(_POLL_S)


def is_simulated() -> bool:
    """Whether the stand-in serves. An address that was given is used even in the simulator."""
    asked = os.environ.get("GPUCTL_ENGINE") == "sim"
    return asked and not os.environ.get("GPUCTL_SD_WEBUI_URL")


def stop() -> None:
    """Ends the stand-in, if one was started."""
    while _stand_in:
        process, _ = _stand_in.pop()
        process.kill()
        process.wait()


def _answers(webui: Webui) -> str | None:
    """None when it serves; else why not. It lists its models before it has loaded one."""
    try:
        webui.call("GET", "/sd-models", None, limit_s=10.0)
    except Gone as gone:
        return str(gone)
    except Refused as refused:
        if refused.status == 401:
            raise named(refused) from refused
        return refused.text
    return None


def _root() -> Path:
    return Path(os.environ.get("WEBUI_ROOT") or "/opt/webui")


def _may_come() -> bool:
    """Whether waiting makes sense: one is installed here, or somebody said where one is."""
    named = bool(os.environ.get("GPUCTL_SD_WEBUI_URL"))
    return named or is_simulated() or _root().is_dir()


def _never(webui: Webui, limit_s: float, reason: str) -> Failure:
    return Failure(
        "failed",
        f"no WebUI answers at {webui.address} after {limit_s:g} s: {reason}",
        "look at the container's log: start.sh ends with the WebUI's last lines when it dies",
    )


def _limit() -> float:
    try:
        return float(os.environ.get("GPUCTL_SD_READY_S") or READY_LIMIT_S)
    except ValueError:
        return READY_LIMIT_S


def _simulated() -> Webui:
    """The stand-in of this process, started on first use on a free port, anew when it died."""
    if _stand_in and _stand_in[0][0].poll() is None:
        return _stand_in[0][1]
    stop()
    report.loading("webui", "simulated: starting a stand-in for the WebUI")
    process = subprocess.Popen(
        [sys.executable, "-B", "-m", "sd.sim_webui"],
        # It ends when this pipe does, however this process ends.
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).resolve().parents[1],
    )
    assert process.stdout
    port = process.stdout.readline().strip().decode()
    if not port:
        process.wait()
        raise Failure("failed", "the simulated WebUI did not start", "see the worker's log")
    _stand_in.append((process, Webui(f"http://127.0.0.1:{port}")))
    atexit.register(stop)
    return _stand_in[0][1]
