"""What is written is true: tables, links, commands and names in the documents."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from gpuctl import config, resources
from gpuctl.cli import COMMANDS
from gpuctl.config_files import defaults

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))]


def test_the_tables_and_the_example_environment_are_what_the_code_says() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "readme-tables", "--check"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_the_example_environment_names_exactly_the_keys_of_the_schema() -> None:
    sections = defaults(resources.bundled("config_defaults.yaml"), None)
    keys = {
        f"{section}.{key}"
        for section, rows in sections.items()
        if section not in config.OPEN_TABLES
        for key in rows
    }
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    by_name = {config.environment_name(key): key for key in keys} | config.OTHER_NAMES
    named = {by_name[name] for name in re.findall(r"^(?:# )?([A-Z][A-Z0-9_]+)=", text, re.M)}
    assert named == keys
    assert not re.search(r"^[A-Z_]+=\S", text, re.M), "an example holds no values that count"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere_and_commands_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (document.parent / target).exists(), f"{document.name} links to {target}"
    shell = "\n".join(re.findall(r"```(?:sh|console)?\n(.*?)```", text, re.S))
    for line in shell.splitlines():
        found = re.search(r"\bgpuctl ((?:-[-\w]+ )*)([a-z][\w-]*)", line.split("#")[0])
        if found and "git clone" not in line and "cd gpuctl" not in line:
            assert found[2] in COMMANDS, f"{document.name}: {line}"


def test_no_registry_is_named_in_what_is_committed() -> None:
    names = "|".join(("py" + r"pi\.org", r"python" + r"hosted", r"registry\.npm" + "js"))
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True
    ).stdout.split("\0")
    named = [
        name
        for name in filter(None, listed)
        if (ROOT / name).is_file()
        and re.search(names, (ROOT / name).read_text(encoding="utf-8", errors="replace"))
    ]
    assert named == []


def test_the_changelog_has_something_to_say() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## [Unreleased]" in text
    assert "gpuctl flux" in text
