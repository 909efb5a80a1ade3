"""The verbs that look: status, jobs, selfcheck. Each prints one JSON document."""

from __future__ import annotations

import json
import os
import platform
import shutil
import socket
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from worker.connection import ask, connect, log_tail
from worker.layout import SCRIPTS, Layout, workloads
from worker.spool import summary

Json = dict[str, Any]


def main(verb: str, argv: list[str]) -> int:
    layout = Layout.from_environment()
    if verb == "jobs" and len(argv) != 1:
        sys.stderr.write("usage: run.py jobs WORKLOAD\n")
        return 2
    if verb == "jobs":
        shown: Any = jobs(layout, argv[0])
    elif verb == "status":
        shown = [status(layout, name) for name in argv or workloads()]
        shown = shown[0] if argv else shown
    else:
        shown = selfcheck(layout)
    sys.stdout.write(json.dumps(shown, indent=1) + "\n")
    return 0


def status(layout: Layout, workload: str) -> Json:
    """The daemon's own answer; without a daemon, that there is none and how its log ends."""
    link = connect(layout, workload)
    if link:
        with link:
            answer, _ = ask(link, {"op": "status"})
        if answer:
            return answer
    return {
        "workload": workload,
        "daemon_pid": None,
        "engine_alive": False,
        "model_loaded": False,
        "queue": [],
        "log": log_tail(layout, workload),
    }


def jobs(layout: Layout, workload: str) -> list[Json]:
    """Every job of the workload in this workspace, oldest first."""
    folder = Path(layout.root) / "jobs"
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    rows = [row for name in names if (row := summary(layout, name))]
    return sorted((row for row in rows if row["workload"] == workload), key=_created)


def selfcheck(layout: Layout) -> Json:
    """What the machine offers: Python, workspace, sockets, GPU driver, torch. Changes nothing."""
    root = Path(layout.root)
    existing = next(path for path in (root, *root.parents) if path.exists())
    return {
        "python": platform.python_version(),
        "executable": sys.executable,
        "scripts": SCRIPTS,
        "workloads": workloads(),
        "workspace": layout.root,
        "workspace_writable": os.access(existing, os.W_OK),
        "free_bytes": shutil.disk_usage(existing).free,
        "unix_sockets": hasattr(socket, "AF_UNIX"),
        "nvidia_smi": shutil.which("nvidia-smi"),
        "torch": find_spec("torch") is not None,
        "venv": find_spec("venv") is not None and find_spec("ensurepip") is not None,
    }


def _created(row: Json) -> float:
    return float(row["created"])
