"""`python -m benchmarks [NAME…] [--rounds N] [--full]`: figures, goals and verdicts."""

from __future__ import annotations

import argparse
import compileall
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module, metadata
from pathlib import Path

from benchmarks import measure

# Name → module with `run(folder, rounds, full) -> list[Row]`.
SUITES = {
    "startup": "benchmarks.startup",
    "prompt": "benchmarks.prompt",
    "ssh": "benchmarks.connections",
    "transfers": "benchmarks.transfers",
    "endurance": "benchmarks.endurance",
    "picture": "benchmarks.picture",
    "tail": "benchmarks.tail",
    "progress": "benchmarks.progress",
    "resident": "benchmarks.resident",
}
Suite = Callable[[Path, int, bool], list[measure.Row]]


def main() -> int:
    """Exit code 1 when a goal was not met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SUITES))
    parser.add_argument("--rounds", type=int, default=0, help="counted rounds (default: per suite)")
    parser.add_argument("--full", action="store_true", help="endurance at full length (minutes)")
    given = parser.parse_args()
    if unknown := [name for name in given.names if name not in SUITES]:
        parser.error(f"no such benchmark: {', '.join(unknown)}")
    _compile()
    print(_machine(), flush=True)
    rows: list[measure.Row] = []
    for name in given.names or SUITES:
        suite: Suite = import_module(SUITES[name]).run
        with tempfile.TemporaryDirectory(prefix="gpuctl-bench-") as folder:
            found = suite(Path(folder), given.rounds, given.full)
        print(f"\n{name}\n{measure.table(found)}", flush=True)
        rows += found
    missed = [row.goal for row in rows if row.verdict == "NOT MET"]
    print(f"\nnot met: {', '.join(missed)}" if missed else "\nall goals met")
    return 1 if missed else 0


def _compile() -> None:
    """Some machines set PYTHONDONTWRITEBYTECODE, and an editable install compiles nothing."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    compileall.compile_dir(Path(measure.__file__).parent.parent / "gpuctl", quiet=2)
    for package in ("typer", "rich", "paramiko", "cryptography", "yaml", "tokenizers"):
        located = metadata.distribution("pyyaml" if package == "yaml" else package)
        compileall.compile_dir(str(located.locate_file(package)), quiet=2)


def _machine() -> str:
    names = ("typer", "rich", "paramiko", "tokenizers")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in names)
    load = os.getloadavg()[0]
    return (
        f"Python {platform.python_version()}, {os.cpu_count()} cores, load {load:.1f}, "
        f"{versions}\nmedians of interleaved rounds; ratios count, milliseconds are this machine's"
    )


if __name__ == "__main__":
    sys.exit(main())
