"""Build, push, inspect and run with the real Docker engine, the real registry, and buildah."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
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


def test_whisper_s_slim_image_serves_health_under_the_digest_that_was_pushed(
    builder: Person, engine: DockerEngine, python_base: str, container: Callable[..., str]
) -> None:
    """Its own Dockerfile, entrypoint and service; only the model is simulated."""
    argv = ("whisper", "--slim")
    assert builder.types("build", *argv, "--arg", f"BASE={python_base}").code == 0
    pushed = builder.types("--json", "push", *argv).data
    facts = pushed["facts"]
    assert facts["ports"] == ["22/tcp", "9090/tcp", "9999/tcp"]
    assert facts["labels"]["org.opencontainers.image.version"] == __version__
    by_digest = pushed["by_digest"]
    engine.docker("pull", by_digest)
    # A network of its own, with a loopback alone: no port of this computer is taken.
    one = container(
        "--network", "none", "--health-interval", "200ms", "-e", "GPUCTL_ENGINE=sim", by_digest
    )  # fmt: skip
    health = ("inspect", "--format", "{{.State.Health.Status}} {{.State.Status}}", one)
    until(
        lambda: engine.docker(*health).stdout.split() == ["healthy", "running"],
        f"the health check: {engine.docker(*health).stdout}",
    )
    ask = ("exec", one, "wget", "-q", "-O", "-")
    until(lambda: engine.docker(*ask, "http://127.0.0.1:9999/ready", check=False).stdout, "ready")
    status = json.loads(engine.docker(*ask, "http://127.0.0.1:9999/status").stdout)
    assert status["model"]
    who = engine.docker("exec", one, "sh", "-c", "stat -c %U /proc/[0-9]*/exe; ps -o user,args")
    assert re.search(r"whisper +.*service whisper", who.stdout), who.stdout


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


@pytest.fixture(params=["docker", "buildah"])
def guarded(
    builder: Person, engine: DockerEngine, tmp_path: Path, request: pytest.FixtureRequest
) -> Person:
    """Somebody with an image for the guarded registry, and nothing but buildah or Docker."""
    name = f"{engine.guarded}/{USER}/gpuctl-flux:{__version__}-slim"
    if request.param == "buildah":
        request.getfixturevalue("with_buildah")
        run("buildah", "tag", f"{engine.registry}/base:1", name, environ=builder.environ)
    else:
        engine.docker("tag", engine.base, name)
    builder.environ |= {
        "GPUCTL_DOCKERHUB__REGISTRY": engine.guarded,
        "DOCKER_HUB_USERNAME": USER,
        "TMPDIR": str(tmp_path),
    }
    return builder


def test_the_token_goes_in_by_stdin_and_stays_nowhere(guarded: Person, tmp_path: Path) -> None:
    guarded.environ["DOCKER_PASSWORD"] = PASSWORD
    # A gpuctl that was killed while it was logged in: no process has so high a number.
    (tmp_path / "gpuctl-login-99999999-x").mkdir()
    planned = guarded.types("--dry-run", "push", *SLIM)
    assert f"login --username {USER} --password-stdin" in planned.stdout
    done = guarded.types("--verbose", "push", *SLIM)
    assert done.code == 0, done.stderr
    assert PASSWORD not in done.stdout + done.stderr + planned.stdout
    assert list(tmp_path.glob("gpuctl-*")) == []
    found = guarded.types("--json", "image", "inspect", *SLIM).data
    assert found["is_recorded"] is True


def test_a_wrong_password_is_a_matter_of_credentials(guarded: Person) -> None:
    guarded.environ["DOCKER_PASSWORD"] = "not-the-password"
    for argv in (("push", *SLIM), ("image", "inspect", *SLIM)):
        done = guarded.types("--json", *argv)
        assert done.code == 4, done.stdout
        assert "dockerhub.token" in done.error["hint"]
        assert "not-the-password" not in done.stdout


def test_a_push_without_any_login_is_refused_by_the_registry_and_named(guarded: Person) -> None:
    done = guarded.types("--json", "push", *SLIM)
    assert done.code == 4, done.stdout
    assert "the registry refused us" in done.error["message"]


def test_a_push_of_what_was_never_built_names_the_build(builder: Person) -> None:
    done = builder.types("--json", "push", *SLIM, "--tag", "never")
    assert done.code == 3
    assert done.error["hint"] == "gpuctl build flux --slim"


BUILDX = """\
#!/bin/sh
# Stands in for the plugin, which cannot be had here: says what it is, and keeps what it was told.
case $1 in
docker-cli-plugin-metadata)
    echo '{"SchemaVersion":"0.1.0","Vendor":"test","Version":"v0.0.1","ShortDescription":"x"}'
    exit ;;
esac
shift
[ "$1" = version ] && { echo github.com/docker/buildx v0.0.1; exit; }
pwd > "$DOCKER_CONFIG/told"
printf '%s\\n' "$@" >> "$DOCKER_CONFIG/told"
echo '#1 [internal] load build definition'
echo '#7 [2/2] RUN make'
docker tag "$BASE" "$TAG"
"""


@pytest.fixture
def with_buildx(builder: Person, engine: DockerEngine, tmp_path: Path) -> Path:
    """Docker's own client, with a plugin that says it is buildx: its folder."""
    plugins = tmp_path / "config/cli-plugins"
    plugins.mkdir(parents=True)
    (plugins / "docker-buildx").write_text(BUILDX)
    (plugins / "docker-buildx").chmod(0o755)
    del builder.environ["DOCKER_BUILDKIT"]
    builder.environ |= {"DOCKER_CONFIG": str(tmp_path / "config"), "BASE": engine.base}
    return tmp_path / "config"


def test_a_bake_file_is_baked_where_buildx_is_installed(
    builder: Person, engine: DockerEngine, with_buildx: Path
) -> None:
    name = f"{engine.registry}/me/gpuctl-sd:{__version__}-full"
    builder.environ["TAG"] = name
    argv = ("build", "sd", "--no-cache", "--arg", "MODEL_NAME=x")
    planned = builder.types("--json", "--dry-run", *argv).data
    assert planned["engine"].endswith("(buildx)")
    done = builder.types("--json", *argv)
    assert done.data["image"]["reference"] == name
    folder, *told = (with_buildx / "told").read_text().splitlines()
    assert folder.endswith("/remote_scripts"), "a bake file's paths are relative to it"
    assert told == planned["argv"][2:]
    assert told[:5] == [
        "bake",
        "--file",
        f"{folder}/sd/docker-bake.hcl",
        "--load",
        "--progress=plain",
    ]
    settings = [told[at + 1] for at, word in enumerate(told) if word == "--set"]
    assert f"default.tags={name}" in settings
    assert "default.args.MODEL_NAME=x" in settings
    assert "default.no-cache=true" in settings
    assert told[-1] == "default"


def test_without_a_bake_file_buildx_builds_and_loads(
    builder: Person, engine: DockerEngine, with_buildx: Path
) -> None:
    name = f"{engine.registry}/me/gpuctl-flux:{__version__}-slim"
    builder.environ["TAG"] = name
    done = builder.types("build", *SLIM)
    assert done.code == 0, done.stderr
    assert "[2/2] RUN make" in done.stderr
    told = (with_buildx / "told").read_text().splitlines()[1:]
    assert told[:3] == ["build", "--load", "--progress=plain"]
    assert told[-1].endswith("/remote_scripts")


def test_without_buildx_a_bake_file_is_built_plainly_and_the_plugin_named(
    builder: Person, engine: DockerEngine, tmp_path: Path
) -> None:
    del builder.environ["DOCKER_BUILDKIT"]
    builder.environ["DOCKER_CONFIG"] = str(tmp_path)
    done = builder.types("--dry-run", "build", "sd")
    assert " build --file " in done.stdout
    is_old = engine.docker("version", "--format", "{{.Client.Version}}").stdout.startswith("20.")
    assert ("docker-buildx-plugin" in done.stderr) is not is_old


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
def checkout(builder: Person, tmp_path: Path) -> Callable[[str], str]:
    """A copy of gpuctl with one workload more, `own`, whose Dockerfile is what is given."""
    root, copy = Path(__file__).resolve().parents[2], tmp_path / "checkout"

    def made(dockerfile: str) -> str:
        for name in ("gpuctl", "remote_scripts", "prompts"):
            shutil.copytree(root / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(root / "config_defaults.yaml", copy)
        own = copy / "remote_scripts/own"
        own.mkdir()
        (own / "handler.py").write_text("")
        (own / "Dockerfile").write_text(dockerfile)
        builder.environ["PYTHONPATH"] = str(copy)
        builder.folder = copy
        return "own"

    return made


@pytest.fixture
def slow_workload(checkout: Callable[[str], str]) -> str:
    """One step of its build takes a minute."""
    return checkout("ARG BASE\nFROM $BASE\nRUN sleep 61\n")


def test_what_only_buildkit_can_do_is_refused_before_anything_is_built(
    builder: Person, checkout: Callable[[str], str]
) -> None:
    own = checkout("FROM x:1\nRUN --mount=type=cache,target=/c make\n")
    done = builder.types("--json", "build", own)
    assert done.code == 1
    assert "RUN --mount, which only BuildKit can do" in done.error["message"]
    assert "docker-buildx-plugin" in done.error["hint"]


def test_an_older_client_builds_with_the_buildkit_inside_it(
    builder: Person, engine: DockerEngine, checkout: Callable[[str], str]
) -> None:
    old = Path("/usr/bin/docker")
    version = run(str(old), "--version", environ={}).stdout
    if not version.startswith("Docker version 20."):
        pytest.skip(f"Debian's client is {version.strip()}")
    own = checkout("ARG BASE\nFROM $BASE\nCOPY own/handler.py /x\nENV A=1\n")
    del builder.environ["DOCKER_BUILDKIT"]
    builder.environ["PATH"] = f"/usr/bin:{builder.environ['PATH']}"
    done = builder.types("build", own, "--arg", f"BASE={engine.base}")
    assert done.code == 0, done.stderr
    assert "(buildkit)" in done.stderr
    assert "[2/2] COPY own/handler.py /x" in done.stderr


def test_a_base_that_cannot_be_had_is_named(
    builder: Person, engine: DockerEngine, checkout: Callable[[str], str]
) -> None:
    own = checkout(f"FROM {engine.registry}/nobody/nothing:1\n")
    done = builder.types("--json", "build", own)
    assert done.code == 3
    assert "is built on cannot be had" in done.error["message"]


def test_a_step_that_fails_ends_with_its_own_words(
    builder: Person, engine: DockerEngine, checkout: Callable[[str], str]
) -> None:
    own = checkout(f"FROM {engine.base}\nRUN echo the reason >&2 && false\n")
    done = builder.types("--json", "build", own)
    assert done.code == 1
    assert "docker build failed (1)" in done.error["message"]
    assert any("the reason" in line for line in done.error["details"]["last_lines"])
