"""Build, push, inspect and run with the real Docker engine, the real registry, and buildah."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gpuctl import __version__
from tests.journeys.conftest import Person, until
from tests.support.docker_engine import PASSWORD, USER, DockerEngine, dockerd, run
from tests.support.sshd import generate

pytestmark = pytest.mark.docker

SLIM = ("flux", "--slim")


@pytest.fixture
def base(engine: DockerEngine) -> tuple[str, str]:
    return "--arg", f"BASE={engine.base}"


@pytest.fixture
def with_buildah(builder: Person, engine: DockerEngine) -> Person:
    """No engine answers: buildah is what is left. Its base comes out of the registry."""
    name = f"{engine.registry}/base:1"
    engine.docker("tag", engine.base, name)
    engine.docker("push", name)
    run("buildah", "pull", "--tls-verify=false", name, environ=builder.environ)
    builder.environ["DOCKER_HOST"] = "unix:///nowhere/docker.sock"
    return builder


def built(person: Person, *more: str) -> dict[str, object]:
    image: dict[str, object] = person.types("--json", "build", *SLIM, *more).data["image"]
    return image


def test_the_slim_image_is_built_pushed_read_back_and_recorded(
    builder: Person, engine: DockerEngine, base: tuple[str, str]
) -> None:
    image = built(builder, *base)
    name = f"{engine.registry}/me/gpuctl-flux:{__version__}-slim"
    assert image["reference"] == name
    assert str(image["image_id"]).startswith("sha256:")

    pushed = builder.types("--json", "push", *SLIM).data
    local = json.loads(engine.docker("image", "inspect", name).stdout)[0]
    assert [pushed["by_digest"].replace(f":{__version__}-slim", "")] == local["RepoDigests"]

    found = builder.types("--json", "image", "inspect", *SLIM).data
    assert found["digest"] == found["recorded_digest"] == pushed["digest"]
    assert found["platform"] == "linux/amd64"
    assert found["ports"] == ["22/tcp"]
    assert found["has_healthcheck"] is True
    assert found["has_ssh"] is True
    assert found["runs_as_root"] is True
    assert found["labels"]["gpuctl.workload"] == "flux"
    assert found["entrypoint"] == ["/usr/bin/tini", "--", "/opt/gpuctl/flux/start.sh"]
    assert len(found["layers"]) == len(local["RootFS"]["Layers"])

    [record] = builder.types("--json", "image", "list").data["images"]
    assert record["digest"] == pushed["digest"]
    assert record["variant"] == "slim"


def test_the_image_runs_lets_its_key_in_and_is_healthy(
    builder: Person,
    engine: DockerEngine,
    base: tuple[str, str],
    tmp_path: Path,
    container: Callable[..., str],
) -> None:
    image = built(builder, *base)
    generate(tmp_path / "id")
    port = "22871"
    one = container(
        "--health-interval", "200ms", "--network", "host",
        "-e", f"PUBLIC_KEY={(tmp_path / 'id.pub').read_text()}",
        "-e", f"GPUCTL_SSH_PORT={port}", str(image["reference"]),
    )  # fmt: skip
    health = ("inspect", "--format", "{{.State.Health.Status}}", one)
    until(lambda: engine.docker(*health).stdout.strip() == "healthy", "the health check")
    words = [
        "ssh", "-p", port, "-i", str(tmp_path / "id"), "-o", "StrictHostKeyChecking=no",
        "-o", f"UserKnownHostsFile={tmp_path}/known", "-o", "IdentitiesOnly=yes",
        "root@127.0.0.1", "ls /opt/gpuctl",
    ]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.stdout.split() == ["files", "flux", "run.py", "watchdog", "worker"], done.stderr


def test_without_a_key_or_a_queue_the_container_says_so_and_ends(
    builder: Person, engine: DockerEngine, base: tuple[str, str]
) -> None:
    image = built(builder, *base)
    done = engine.docker("run", "--rm", str(image["reference"]), check=False)
    assert done.returncode == 2
    assert "nothing can bring a job" in done.stderr


@pytest.fixture
def container(engine: DockerEngine) -> Iterator[Callable[..., str]]:
    """Runs one and ends it after the test."""
    ids: list[str] = []

    def start(*words: str) -> str:
        ids.append(engine.docker("run", "-d", *words).stdout.strip())
        return ids[-1]

    yield start
    for one in ids:
        engine.docker("rm", "-f", one)


def test_what_is_built_anew_has_no_recorded_digest_until_it_is_pushed(
    builder: Person, base: tuple[str, str]
) -> None:
    built(builder, *base)
    builder.types("push", *SLIM)
    built(builder, *base)
    [record] = builder.types("--json", "image", "list").data["images"]
    assert record["digest"] is None


def test_buildah_builds_and_pushes_where_no_engine_answers_and_says_so(
    with_buildah: Person, engine: DockerEngine
) -> None:
    done = with_buildah.types("build", *SLIM, "--arg", f"BASE={engine.registry}/base:1")
    assert done.code == 0, done.stderr
    assert "its engine does not answer" in done.stderr
    assert "buildah is used instead" in done.stderr
    assert re.search(r"\[\d+/\d+\] COPY run.py", done.stderr)
    pushed = with_buildah.types("--json", "push", *SLIM).data
    found = with_buildah.types("--json", "image", "inspect", *SLIM).data
    assert found["digest"] == pushed["digest"]
    assert found["has_healthcheck"] is True


@pytest.mark.parametrize("kind", ["docker", "buildah"])
def test_the_token_goes_in_by_stdin_and_stays_nowhere(
    kind: str, builder: Person, engine: DockerEngine, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    person = request.getfixturevalue("with_buildah") if kind == "buildah" else builder
    from_ = f"{engine.registry}/base:1" if kind == "buildah" else engine.base
    person.environ |= {
        "GPUCTL_DOCKERHUB__REGISTRY": engine.guarded,
        "DOCKER_HUB_USERNAME": USER,
        "DOCKER_PASSWORD": PASSWORD,
        "TMPDIR": str(tmp_path),
    }
    built(person, "--arg", f"BASE={from_}")
    planned = person.types("--dry-run", "push", *SLIM)
    assert f"{kind} login --username {USER} --password-stdin" in planned.stdout
    done = person.types("--verbose", "push", *SLIM)
    assert done.code == 0, done.stderr
    assert PASSWORD not in done.stdout + done.stderr + planned.stdout
    assert list(tmp_path.glob("gpuctl-*")) == []
    found = person.types("--json", "image", "inspect", *SLIM).data
    assert found["is_recorded"] is True


@pytest.mark.parametrize("kind", ["docker", "buildah"])
def test_a_wrong_password_is_a_matter_of_credentials(
    kind: str, builder: Person, engine: DockerEngine, request: pytest.FixtureRequest
) -> None:
    person = request.getfixturevalue("with_buildah") if kind == "buildah" else builder
    from_ = f"{engine.registry}/base:1" if kind == "buildah" else engine.base
    person.environ |= {
        "GPUCTL_DOCKERHUB__REGISTRY": engine.guarded,
        "DOCKER_HUB_USERNAME": USER,
        "DOCKER_PASSWORD": "not-the-password",
    }
    built(person, "--arg", f"BASE={from_}")
    for argv in (("push", *SLIM), ("image", "inspect", *SLIM)):
        done = person.types("--json", *argv)
        assert done.code == 4, done.stdout
        assert "dockerhub.token" in done.error["hint"]
        assert "not-the-password" not in done.stdout


def test_a_push_without_any_login_is_refused_by_the_registry_and_named(
    builder: Person, engine: DockerEngine, base: tuple[str, str]
) -> None:
    builder.environ["GPUCTL_DOCKERHUB__REGISTRY"] = engine.guarded
    built(builder, *base)
    done = builder.types("--json", "push", *SLIM)
    assert done.code == 4
    assert "no basic auth credentials" in done.error["message"]


def test_a_push_of_what_was_never_built_names_the_build(builder: Person) -> None:
    done = builder.types("--json", "push", *SLIM, "--tag", "never")
    assert done.code == 3
    assert done.error["hint"] == "gpuctl build flux --slim"


def test_progress_is_told_step_by_step_and_every_line_with_verbose(
    builder: Person, base: tuple[str, str]
) -> None:
    done = builder.types("build", *SLIM, *base)
    assert re.search(r"^\[\d+/\d+\] RUN apt-get update", done.stderr, re.M)
    assert "Successfully tagged" not in done.stderr
    assert "Successfully tagged" in builder.types("-v", "build", *SLIM, *base).stderr


def test_the_dry_run_prints_the_command_that_builds_the_same_image(
    builder: Person, engine: DockerEngine, base: tuple[str, str]
) -> None:
    planned = builder.types("--dry-run", "--json", "build", *SLIM, *base).data
    assert planned["command"].startswith("DOCKER_BUILDKIT=0 docker build --file ")
    image = built(builder, *base)
    run("sh", "-c", planned["command"], environ=engine.environ)
    name = str(image["reference"])
    again = engine.docker("image", "inspect", "--format", "{{.Id}}", name).stdout.strip()
    assert again == image["image_id"]


def test_ctrl_c_ends_the_engine_s_child_and_the_step_it_was_in(
    builder: Person, engine: DockerEngine, slow_workload: str
) -> None:
    process = builder.start("build", slow_workload, "--arg", f"BASE={engine.base}")
    until(lambda: engine.docker("ps", "-q").stdout.strip(), "the step's container")
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130, told
    until(lambda: not engine.docker("ps", "-q").stdout.strip(), "the end of the step")


def test_an_engine_that_dies_in_the_middle_is_named_with_the_remedy(
    builder: Person, engine: DockerEngine, slow_workload: str, tmp_path: Path
) -> None:
    import tempfile

    with (
        tempfile.TemporaryDirectory(prefix="gd-", dir="/tmp") as folder,
        dockerd(Path(folder)) as host,
    ):
        other = {**engine.environ, "DOCKER_HOST": host}
        run("docker", "import", f"{engine.folder}/base.tar", engine.base, environ=other)
        builder.environ["DOCKER_HOST"] = host
        process = builder.start("--json", "build", slow_workload, "--arg", f"BASE={engine.base}")
        look = ("docker", "ps", "-q")
        until(lambda: run(*look, environ=other).stdout.strip(), "the step's container")
        pid = int((Path(folder) / "d/pid").read_text())
        import os

        os.kill(pid, signal.SIGKILL)
        out, _ = process.communicate(timeout=30)
    error = json.loads(out)["error"]
    assert process.returncode == 1
    assert "went away" in error["message"]
    assert "systemctl start docker" in error["hint"]


def test_a_full_disk_is_named_with_the_remedy(
    builder: Person, engine: DockerEngine, tmp_path: Path
) -> None:
    """The engine's folder is a small memory disk: the kernel itself says that it is full."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="gd-", dir="/tmp") as folder:
        small = Path(folder) / "d"
        small.mkdir()
        run("mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(small), environ={})
        try:
            with dockerd(Path(folder), driver="vfs") as host:
                other = {**engine.environ, "DOCKER_HOST": host}
                run("docker", "import", f"{engine.folder}/base.tar", engine.base, environ=other)
                builder.environ["DOCKER_HOST"] = host
                done = builder.types("--json", "build", *SLIM, "--arg", f"BASE={engine.base}")
        finally:
            run("umount", "-l", str(small), environ={}, check=False)
    assert done.code == 1
    assert "disk is full" in done.error["message"]
    assert "docker system df" in done.error["hint"]


def test_neither_docker_nor_buildah_is_named_with_the_remedy(builder: Person) -> None:
    builder.environ["PATH"] = "/nowhere"
    done = builder.types("--json", "build", *SLIM)
    assert done.code == 1
    assert done.error["code"] == "missing_dependency"
    assert "buildah" in done.error["hint"]


def test_an_engine_that_does_not_answer_is_named_when_only_docker_is_allowed(
    builder: Person,
) -> None:
    builder.environ |= {"DOCKER_HOST": "unix:///nowhere", "GPUCTL_IMAGES__ENGINE": "docker"}
    done = builder.types("--json", "build", *SLIM)
    assert done.code == 1
    assert "systemctl start docker" in done.error["hint"]


@pytest.fixture
def slow_workload(builder: Person, tmp_path: Path) -> str:
    """A copy of gpuctl whose workload `slow` has a step that takes a minute."""
    import shutil

    root = Path(__file__).resolve().parents[2]
    copy = tmp_path / "checkout"
    for name in ("gpuctl", "remote_scripts", "prompts"):
        leave = shutil.ignore_patterns("__pycache__")
        shutil.copytree(root / name, copy / name, ignore=leave)
    shutil.copy(root / "config_defaults.yaml", copy)
    slow = copy / "remote_scripts/slow"
    slow.mkdir()
    (slow / "handler.py").write_text("")
    (slow / "Dockerfile").write_text("ARG BASE\nFROM $BASE\nRUN sleep 61\n")
    builder.environ |= {"PYTHONPATH": str(copy), "GPUCTL_SLOW": "1"}
    builder.folder = copy
    return "slow"
