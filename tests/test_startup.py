"""Start-up is a feature: help, version and mistakes touch nothing and import nothing heavy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpuctl import help_text
from gpuctl.cli import COMMANDS, build

HEAVY = (
    "anthropic",
    "boto3",
    "botocore",
    "httpx",
    "paramiko",
    "pydantic",
    "runpod",
    "starlette",
    "tokenizers",
    "torch",
    "transformers",
)

# Runs gpuctl in a fresh interpreter that reports what was loaded, opened and written.
_WATCHED = """
import json, socket, sys
opened, written = [], []
def hook(event, args):
    if event in ("socket.connect", "socket.bind", "socket.getaddrinfo", "subprocess.Popen"):
        opened.append(f"{event} {args[1:2]}")
    if event == "open" and isinstance(args[0], str) and args[1] and set(args[1]) & set("wax+"):
        written.append(args[0])
    if event in ("os.mkdir", "sqlite3.connect"):
        written.append(str(args[0]))
sys.addaudithook(hook)
sys.argv = ["gpuctl", *sys.argv[1:]]
from gpuctl.__main__ import main
try:
    code = main()
except SystemExit as stop:
    code = stop.code
sys.stdout.flush()
report = {"code": code, "modules": sorted(sys.modules), "opened": opened, "written": written}
sys.stderr.write("\\nREPORT" + json.dumps(report))
"""


def run_watched(*argv: str) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-c", _WATCHED, *argv],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    report: dict[str, object] = json.loads(done.stderr.rpartition("REPORT")[2])
    return report


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["--version"], 0),
        (["--help"], 0),
        ([], 0),
        (["flux", "--help"], 0),
        (["jobs", "--help"], 0),
        (["deploy", "--help"], 0),
        (["flux", "--stepz", "3"], 2),
        (["fluxx"], 2),
        (["jobs", "nothing"], 2),
        (["--json", "flux", "--stepz"], 2),
        (["help", "exit-codes"], 0),
    ],
)
def test_help_version_and_mistakes_load_no_sdk_open_no_socket_write_no_file(
    private_home: Path, argv: list[str], code: int
) -> None:
    report = run_watched(*argv)
    loaded = report["modules"]
    assert isinstance(loaded, list)
    assert report["code"] == code
    assert [name for name in HEAVY if name in loaded] == []
    assert report["opened"] == []
    assert report["written"] == []
    assert [str(path) for path in private_home.rglob("*") if path.is_file()] == []


def test_a_dry_run_loads_no_sdk_and_opens_no_socket(private_home: Path) -> None:
    report = run_watched("flux", "a lighthouse", "--dry-run")
    loaded = report["modules"]
    assert isinstance(loaded, list)
    assert report["code"] == 0
    assert [name for name in HEAVY if name in loaded] == []
    assert report["opened"] == []


def test_the_help_names_every_command_and_nothing_else() -> None:
    listed = [name for rows in help_text.COMMANDS.values() for name, _ in rows]
    assert listed == list(COMMANDS)


def test_every_command_has_help_with_its_first_line_and_an_example() -> None:
    for name in COMMANDS:
        app = build(name)
        for command in app.registered_commands:
            assert command.callback is not None
            documentation = command.callback.__doc__ or ""
            assert documentation.strip(), name
            assert f"gpuctl {name}" in documentation, f"{name} has no example"
        for group in app.registered_groups:
            assert group.typer_instance is not None
            for command in group.typer_instance.registered_commands:
                assert command.callback is not None
                assert (command.callback.__doc__ or "").strip(), f"{name} {command.name}"


def test_no_line_of_the_help_is_wider_than_80_columns() -> None:
    assert max(map(len, help_text.ROOT.splitlines())) <= 80


def test_completion_touches_no_network_and_knows_the_commands(private_home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gpuctl"],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "_GPUCTL_COMPLETE": "complete_bash",
            "COMP_WORDS": "gpuctl fl",
            "COMP_CWORD": "1",
        },
    )
    assert done.stdout.split() == ["flux"]
    assert [path for path in private_home.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_for_each_shell(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gpuctl", "completion", shell], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert "_GPUCTL_COMPLETE" in done.stdout


@pytest.mark.parametrize(
    ("imports", "left_out"),
    [("gpuctl.clients.http, httpx", "rich"), ("gpuctl.sim.server, paramiko", "invoke.util")],
)
def test_what_libraries_would_load_for_their_own_commands_is_left_out(
    imports: str, left_out: str
) -> None:
    script = f"import sys, {imports}; sys.exit({left_out!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_a_picture_waits_for_no_provider_that_it_does_not_need() -> None:
    code = (
        "import sys, gpuctl.commands.pictures; print([m for m in sys.modules if '.providers' in m])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
