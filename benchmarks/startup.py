"""How long a command takes before it does anything (P1–P4)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.measure import Row, command, interleave, private_environment

_HELLO = '''\
import typer
app = typer.Typer()
@app.command()
def hello(name: str, times: int = 1, loud: bool = False, greeting: str = "hello"):
    """Greets NAME."""
app()
'''
# What pip writes for a console script, less its `import re`.
LAUNCHER = "import sys; from gpuctl.__main__ import main; sys.exit(main())"
HEAVY = (
    *("anthropic", "runpod", "boto3", "transformers", "torch", "httpx", "pydantic", "paramiko"),
)
_MISTAKES = (["--help"], ["--version"], ["flux", "--stepz", "3"], ["fluxx"])


def run(folder: Path, rounds: int, _full: bool) -> list[Row]:
    env = private_environment(folder)
    hello = folder / "hello.py"
    hello.write_text(_HELLO)
    gpuctl: list[str | Path] = [sys.executable, Path(sys.executable).with_name("gpuctl")]
    python: list[str | Path] = [sys.executable]
    actions = {
        "python -c pass": command([*python, "-c", "pass"], env=env),
        "hello --help": command([*python, hello, "--help"], env=env),
        "--version": command([*gpuctl, "--version"], env=env),
        "--help": command([*gpuctl, "--help"], env=env),
        "flux --help": command([*gpuctl, "flux", "--help"], env=env),
        "flux --dry-run": command([*gpuctl, "flux", "a lighthouse", "--dry-run"], env=env),
    }
    found = interleave(actions, rounds or 15, warm_up=2)
    limits = {"--version": ("P1", 0.15), "--help": ("P2", 0.15), "flux --dry-run": ("P3", 0.65)}
    rows = [
        Row(
            goal,
            f"gpuctl {name} / hello --help",
            found.ratio(name, "hello --help"),
            limit,
            note=found.note(name, "hello --help"),
        )
        for name, (goal, limit) in limits.items()
    ]
    for name in ("flux --help", "python -c pass"):
        ratio = found.ratio(name, "hello --help")
        rows.append(Row("–", f"{name} / hello --help", ratio, note=found.note(name)))
    return [*rows, *(_loaded(argv, env) for argv in _MISTAKES)]


def _loaded(argv: list[str], env: dict[str, str]) -> Row:
    """P4, also held by tests/test_startup.py: no SDK is loaded."""
    words = [sys.executable, "-X", "importtime", "-c", LAUNCHER, *argv]
    done = subprocess.run(words, env=env, capture_output=True, text=True)
    names = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line}
    heavy = [name for name in HEAVY if name in names]
    what = f"SDKs loaded by {' '.join(argv)}"
    return Row("P4", what, len(heavy), 0, unit="", note=f"{len(names)} modules; {heavy or 'none'}")
