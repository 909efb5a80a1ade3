"""Which container engine answers on this computer, and what it can do."""

from __future__ import annotations

import os
import re
import shutil

from gpuctl.errors import ConfigError, MissingDependency
from gpuctl.images import running
from gpuctl.images.buildah import Buildah
from gpuctl.images.docker import Docker
from gpuctl.images.engines import Engine
from gpuctl.images.running import Command, Ended

ENGINES = ("auto", "docker", "buildah")
# Clients from 23 on build through the plugin; before, BuildKit was inside (feasibility.md §3).
FIRST_WITHOUT_BUILDKIT = 23
_ASKING = ". Is the docker daemon running?"


def engine(wanted: str) -> Engine:
    """Docker when its engine answers, else buildah; `wanted` docker or buildah allows no other.

    Raises MissingDependency, naming what is missing and the remedy.
    """
    if wanted not in ENGINES:
        raise ConfigError(
            f"images.engine must be one of {', '.join(ENGINES)}, not {wanted!r}",
            hint="gpuctl config set images.engine auto",
        )
    trouble = MissingDependency("docker is not installed", hint="install Docker, then try again")
    if wanted != "buildah":
        found = docker()
        if isinstance(found, Docker):
            return found
        trouble = found
    if wanted != "docker" and (other := _buildah(None if wanted == "buildah" else trouble)):
        return other
    if wanted == "buildah":
        raise MissingDependency("buildah is not installed", hint="apt install buildah")
    if wanted == "auto":
        trouble.hint = f"{trouble.hint}; or without a daemon: apt install buildah"
    raise trouble


def docker() -> Docker | MissingDependency:
    """Docker with the builder it has, or what is missing."""
    program = shutil.which("docker")
    if program is None:
        return MissingDependency(
            "docker is not installed",
            hint="install Docker Engine or Docker Desktop (Debian: apt install docker.io)",
        )
    template = "{{.Client.Version}} {{if .Server}}{{.Server.Version}}{{end}}"
    answer = running.asked(Command((program, "version", "--format", template)))
    if answer.code:
        return _silent(answer)
    client = answer.lines[-1].split()[0]
    return Docker("docker", client, _builder(program, client))


def _builder(program: str, client: str) -> str:
    if os.environ.get("DOCKER_BUILDKIT") == "0":  # the operator's own choice
        return "legacy"
    if running.asked(Command((program, "buildx", "version"))).code == 0:
        return "buildx"
    major = re.match(r"\d+", client)
    is_old = major is not None and int(major[0]) < FIRST_WITHOUT_BUILDKIT
    return "buildkit" if is_old else "legacy"


def _silent(answer: Ended) -> MissingDependency:
    said = answer.lines[-1].removesuffix(_ASKING) if answer.lines else "it said nothing"
    if "permission denied" in answer.text.lower():
        return MissingDependency(
            "this user may not speak to the Docker engine",
            hint="sudo usermod -aG docker $USER, then log in again",
            details={"said": said},
        )
    return MissingDependency(
        f"docker is installed, but its engine does not answer: {said}",
        hint="start it: sudo systemctl start docker, or open Docker Desktop",
        details={"said": said},
    )


def _buildah(instead_of: MissingDependency | None) -> Buildah | None:
    program = shutil.which("buildah")
    if program is None:
        return None
    answer = running.asked(Command((program, "--version")))
    version = re.search(r"\d+(?:\.\d+)+", answer.text)
    if answer.code or version is None:
        return None
    note = f"{instead_of.message}; buildah is used instead" if instead_of else None
    return Buildah("buildah", version[0], note=note)
