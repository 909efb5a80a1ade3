"""The image: the seed's arguments, the repository that went away, the models that are chosen."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.a1111_server import REMOTE_SCRIPTS
from tests.support.docker_engine import DockerEngine, require_docker, running_engine

DOCKERFILE = (REMOTE_SCRIPTS / "sd/Dockerfile").read_text()
DEFAULTS = dict(re.findall(r"^ARG (\w+)=(\S+)$", DOCKERFILE, re.M))


def test_the_seeds_arguments_are_there_with_the_seeds_defaults() -> None:
    assert DEFAULTS["MODEL_NAME"] == "awportrait_v14"
    assert DEFAULTS["GIT_VERSION"] == "v1.9.3"
    assert DEFAULTS["APP_NAME"]
    assert DEFAULTS["GIT_REPO_URL"].endswith("/AUTOMATIC1111/stable-diffusion-webui.git")
    assert DEFAULTS["BASE_IMAGE"].startswith("python:3.10")


def test_the_removed_repository_is_named_nowhere_but_in_the_reason() -> None:
    lines = [line for line in DOCKERFILE.splitlines() if not line.startswith("#")]
    assert not any("Stability-AI" in line for line in lines)
    assert "STABLE_DIFFUSION_REPO=${STABLE_DIFFUSION_REPO}" in DOCKERFILE
    assert DEFAULTS["STABLE_DIFFUSION_REPO"].endswith("/stablediffusion.git")


def test_tcmalloc_is_preloaded_where_it_is_installed() -> None:
    final = DOCKERFILE.rpartition("FROM ")[2]
    assert "libtcmalloc-minimal4" in final
    assert final.index("apt-get install") < final.index("LD_PRELOAD=libtcmalloc_minimal.so.4")


def test_the_bake_file_sets_every_argument_to_the_dockerfiles_own_default() -> None:
    import hcl2

    with (REMOTE_SCRIPTS / "sd/docker-bake.hcl").open(encoding="utf-8") as file:
        document = hcl2.load(file)
    targets = {
        _plain(name): target for block in document["target"] for name, target in block.items()
    }
    args = {key: _plain(value) for key, value in _own(targets["default"]["args"]).items()}
    assert args == DEFAULTS
    later = targets["v1-10-1"]
    assert _plain(later["inherits"][0]) == "default"
    assert {key: _plain(value) for key, value in _own(later["args"]).items()} == {
        "GIT_VERSION": "v1.10.1"
    }


@pytest.fixture(scope="module")
def engine() -> Iterator[DockerEngine]:
    require_docker()
    with running_engine() as found:
        yield found


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """remote_scripts as a build gets it, with a model beside the Dockerfile."""
    folder = tmp_path / "remote_scripts"
    ignore = shutil.ignore_patterns("__pycache__", "flux", "tts", "video", "whisper", "ec2")
    shutil.copytree(REMOTE_SCRIPTS, folder, ignore=ignore)
    chosen = folder / "sd/models/dreamshaper"
    (chosen / "Lora").mkdir(parents=True)
    (chosen / "model.safetensors").write_text("weights")
    (chosen / "Lora/lcm.safetensors").write_text("lora")
    return folder


@pytest.mark.docker
def test_the_real_engine_bakes_the_chosen_model_in_and_goes_on_without_one(
    engine: DockerEngine, context: Path
) -> None:
    base = _base_with_a_shell(engine, context)

    def build(model: str) -> str:
        words = ["--target", "models", "--build-arg", f"BASE_IMAGE={base}"]
        words += ["--build-arg", f"MODEL_NAME={model}", "-t", f"models:{model}"]
        done = engine.docker("build", *words, "-f", f"{context}/sd/Dockerfile", str(context))
        return done.stdout + done.stderr

    def listed(model: str) -> str:
        words = ["run", "--rm", "--network", "none", f"models:{model}", "/bin/busybox", "find"]
        return engine.docker(*words, "/chosen", "-type", "f").stdout

    build("dreamshaper")
    found = listed("dreamshaper").split()
    assert sorted(found) == ["/chosen/Lora/lcm.safetensors", "/chosen/model.safetensors"]
    assert "the network volume has to bring it" in build("awportrait_v14")
    assert listed("awportrait_v14").split() == []


@pytest.mark.docker
def test_the_real_engine_gets_as_far_as_the_first_package_from_outside(
    engine: DockerEngine, context: Path
) -> None:
    base = _base_with_a_shell(engine, context)
    words = ["--build-arg", f"BASE_IMAGE={base}", "-f", f"{context}/sd/Dockerfile", str(context)]
    done = engine.docker("build", *words, check=False)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    # Every stage up to here was built; no instruction before it was refused.
    assert "apt-get update" in said.rpartition("Step ")[2]
    assert "unknown instruction" not in said


def _base_with_a_shell(engine: DockerEngine, folder: Path) -> str:
    """The test's base with all applets of busybox, and sh by the name of bash."""
    place = folder.parent / "base"
    if not place.exists():
        place.mkdir()
        (place / "Dockerfile").write_text(
            f"FROM {engine.base}\n"
            'RUN ["/bin/busybox", "mkdir", "-p", "/bin"]\n'
            'RUN ["/bin/busybox", "--install", "/bin"]\n'
        )
        engine.docker("build", "-t", "sd-base:1", str(place))
    return "sd-base:1"


def _own(block: Any) -> dict[str, Any]:
    found = block[0] if isinstance(block, list) else block
    return {_plain(key): value for key, value in found.items() if not key.startswith("__")}


def _plain(text: Any) -> str:
    return str(text).strip('"')
