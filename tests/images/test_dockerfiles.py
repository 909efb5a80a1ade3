"""Every Dockerfile that is shipped: linted, reproducible, in step with its bake file."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gpuctl.images import dockerfiles, simulated_image
from gpuctl.services import image_sources

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "remote_scripts"
FILES = sorted(SCRIPTS.glob("*/Dockerfile*"))
BAKES = sorted(SCRIPTS.glob("*/docker-bake.hcl"))
SHELL = sorted(path for path in SCRIPTS.glob("*/*.sh"))


def name(path: Path) -> str:
    return f"{path.parent.name}-{path.name}"


def test_there_are_images_to_be_built() -> None:
    assert {"flux-Dockerfile", "flux-Dockerfile.slim"} <= set(map(name, FILES))


@pytest.mark.parametrize("path", FILES, ids=name)
def test_hadolint_has_nothing_to_say(path: Path) -> None:
    program = Path(sys.executable).with_name("hadolint")
    # DL3008: an apt version that is pinned is gone from the mirrors in a month.
    words = [str(program), "--no-color", "--ignore", "DL3008", str(path)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", FILES, ids=name)
def test_bases_and_packages_are_pinned(path: Path) -> None:
    content = path.read_text(encoding="utf-8")
    before, stages = dockerfiles.stages(content)
    known = {
        key: value or ""
        for key, value in dockerfiles.arguments("\n".join(map(str, before))).items()
    }
    own = {stage.name for stage in stages}
    for stage in stages:
        base = dockerfiles.expanded(stage.base, known)
        if base not in own and base != "scratch":
            assert re.search(r":[\w.-]*\d|@sha256:", base), f"{path.name}: {base} is not pinned"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_what_is_copied_from_the_context_is_there(path: Path) -> None:
    for stage in dockerfiles.stages(path.read_text(encoding="utf-8"))[1]:
        for each in stage.instructions:
            words = [word for word in each.text.split() if not word.startswith("--")]
            if each.word != "COPY" or "--from" in each.text or each.text.startswith("["):
                continue
            for source in words[:-1]:
                assert list(SCRIPTS.glob(source.rstrip("/"))), f"{path}: COPY {source}"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_no_argument_is_a_place_for_a_secret(path: Path) -> None:
    named = dockerfiles.arguments(path.read_text(encoding="utf-8"))
    assert [each for each in named if re.search(r"(?i)token|password|secret|api_?key", each)] == []


@pytest.mark.parametrize("path", FILES, ids=name)
def test_every_one_is_an_image_in_the_simulator(path: Path) -> None:
    variant = "slim" if path.suffix == ".slim" else "full"
    source = image_sources.source(path.parent.name, variant)
    assert source.dockerfile == path
    image = simulated_image.made(
        path.read_text(encoding="utf-8"), source.context, arguments={}, labels={}, platform=None
    )
    config = json.loads(image.config)["config"]
    assert config["Labels"]["gpuctl.base"]
    assert config.get("Cmd") or config.get("Entrypoint"), "a container of it starts something"
    assert f"GPUCTL_WORKLOAD={path.parent.name}" in config["Env"]


@pytest.mark.parametrize("path", BAKES, ids=name)
def test_a_bake_file_names_arguments_that_its_dockerfile_has(path: Path) -> None:
    import hcl2

    with path.open(encoding="utf-8") as file:
        document = hcl2.load(file)
    targets = {
        str(key).strip('"'): value
        for block in document.get("target", [])
        for key, value in block.items()
    }
    assert targets
    found = image_sources.source(path.parent.name, None)
    assert found.bake is not None
    assert found.bake[1] in targets
    for target in targets.values():
        file_name = str(target.get("dockerfile", f'"{path.parent.name}/Dockerfile"')).strip('"')
        content = (SCRIPTS / file_name).read_text(encoding="utf-8")
        known = dockerfiles.arguments(content)
        for argument, value in (target.get("args") or {}).items():
            if argument.startswith("__"):
                continue
            assert argument.strip('"') in known, f"{path}: {argument}"
            assert value is not None


@pytest.mark.parametrize("path", SHELL, ids=name)
def test_shellcheck_has_nothing_to_say(path: Path) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run(["shellcheck", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
