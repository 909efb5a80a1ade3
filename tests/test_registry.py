"""Whatever a workload or a provider lacks is named here."""

from __future__ import annotations

import inspect
import tomllib
from pathlib import Path
from typing import Any

import pytest

from gpuctl import resources
from gpuctl.cli import COMMANDS
from gpuctl.config_files import defaults
from gpuctl.errors import EXIT_CODES, GpuctlError
from gpuctl.providers import PROVIDERS
from gpuctl.workloads import WORKLOADS
from gpuctl.workloads.base import Workload

ROOT = Path(__file__).resolve().parents[1]
SECTIONS = defaults(resources.bundled("config_defaults.yaml"), None)


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_has_its_handler_pins_defaults_command_and_line_in_the_readme(name: str) -> None:
    workload = WORKLOADS[name]
    folder = resources.bundled("remote_scripts") / name
    assert (folder / "handler.py").is_file() or (folder / "service.py").is_file()
    pins = [
        line
        for line in (folder / "requirements.txt").read_text().splitlines()
        if line.strip() and not line.startswith(("#", "-"))
    ]
    assert pins
    assert all("==" in pin or " @ " in pin for pin in pins), "every requirement is pinned"
    assert {"image", "vram_gb", "disk_gb", "volume_gb", "output_dir", "open"} <= set(SECTIONS[name])
    assert workload.COMMAND in COMMANDS
    assert f"`gpuctl {workload.COMMAND}`" in (ROOT / "README.md").read_text(encoding="utf-8")
    need = workload.need(SECTIONS[name])
    assert need.vram_gb > 0
    assert "22/tcp" in need.ports


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_has_every_member_of_the_contract(name: str) -> None:
    workload = WORKLOADS[name]
    members = {
        member for member in [*vars(Workload), *Workload.__annotations__] if member[0] != "_"
    }
    assert {member for member in members if not hasattr(workload, member)} == set()
    assert name == workload.NAME
    assert workload.TITLE
    assert workload.PLACE in ("machine", "endpoint", "service")
    assert workload.FORMATS
    checked = (ROOT / "gpuctl/workloads/__init__.py").read_text(encoding="utf-8")
    assert f"import {name}" in checked or f", {name}" in checked, "mypy holds it to the protocol"


def test_an_unknown_workload_is_not_in_the_registry() -> None:
    assert "os" not in WORKLOADS
    with pytest.raises(KeyError):
        WORKLOADS["base"]


def test_the_contracts_name_every_provider() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts: list[dict[str, Any]] = project["tool"]["importlinter"]["contracts"]
    named = next(c for c in contracts if c["name"].startswith("providers are independent"))
    modules = {f"gpuctl.providers.{name}" for name in PROVIDERS}
    assert modules <= set(named["modules"])


def test_every_error_has_a_documented_exit_code_and_a_code_of_its_own() -> None:
    def tree(kind: type[GpuctlError]) -> list[type[GpuctlError]]:
        return [kind, *(below for child in kind.__subclasses__() for below in tree(child))]

    import gpuctl.errors as errors

    kinds = [kind for kind in tree(GpuctlError) if kind.__module__ == "gpuctl.errors"]
    assert {kind.exit_code for kind in kinds} <= set(EXIT_CODES)
    codes = [kind.code for kind in kinds]
    assert len(codes) == len(set(codes)), "two errors share a code"
    drawn = inspect.getdoc(errors) or ""
    for kind in kinds:
        assert kind.__name__ in drawn, f"{kind.__name__} is not in the tree of errors.py"


def test_no_file_and_no_function_outgrows_the_house() -> None:
    import ast

    long = []
    for path in [*ROOT.glob("gpuctl/**/*.py"), *ROOT.glob("remote_scripts/**/*.py")]:
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > 300:
            long.append(f"{path}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                # A command's options are declarations; its body is what counts.
                first = node.body[0].lineno
                size = (node.end_lineno or first) - first + 1
                if size > 40:
                    long.append(f"{path}:{node.lineno} {node.name}: {size} lines")
    assert long == []
