"""The front of workloads that are servers: `run.py service WORKLOAD …` runs until it is ended."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

from worker.layout import SCRIPTS


def main(_verb: str, argv: list[str]) -> int:
    """Hands the rest of the command line to `<workload>.service`. Exit codes: its own, 2 usage."""
    known = services()
    if not argv or argv[0] not in known:
        sys.stderr.write(f"usage: run.py service {{{'|'.join(known)}}} …\n")
        return 2
    code: int = import_module(f"{argv[0]}.service").main(argv[1:])
    return code


def services() -> list[str]:
    """The workloads of these scripts that have one."""
    found = (path.parent.name for path in Path(SCRIPTS).glob("*/service.py"))
    return sorted(name for name in found if name != "worker")
