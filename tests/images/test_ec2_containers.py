"""What a rehearsal does with docker on its instance, done with a real engine and registry."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gpuctl.errors import CredentialsError, GpuctlError, NotFound
from gpuctl.models import Secret
from gpuctl.remote import containers
from gpuctl.remote.base import Shell
from gpuctl.remote.local import LocalShell
from tests.support.docker_engine import PASSWORD, USER, DockerEngine

pytestmark = pytest.mark.docker
NAME = "gpuctl-rehearsed"


@pytest.fixture
def shell(engine: DockerEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    """A machine whose docker is the session's."""
    for name, value in engine.environ.items():
        monkeypatch.setenv(name, value)
    with LocalShell() as found:
        yield found
        containers.remove(found, NAME)


@pytest.fixture
def pushed(engine: DockerEngine) -> Iterator[str]:
    """An image that only the registry has."""
    image = f"{engine.registry}/somebody/rehearsed:1"
    engine.docker("tag", engine.base, image)
    engine.docker("push", image)
    engine.docker("rmi", image)
    yield image
    engine.docker("rmi", "-f", image, check=False)


def test_an_image_is_pulled_by_digest_and_known_by_that_digest(shell: Shell, pushed: str) -> None:
    assert not containers.is_there(shell, pushed)
    lines: list[str] = []
    containers.pull(shell, pushed, lines.append)
    digest = containers.digest(shell, pushed)
    assert any(digest in line for line in lines)
    exact = f"{pushed.rpartition(':')[0]}@{digest}"
    containers.pull(shell, exact, lines.append)
    assert containers.is_there(shell, exact)
    assert containers.digest(shell, exact) == digest


def test_an_image_that_the_registry_lacks_is_named(shell: Shell, engine: DockerEngine) -> None:
    with pytest.raises(NotFound, match="no-such:1 cannot be pulled"):
        containers.pull(shell, f"{engine.registry}/no-such:1", lambda _: None)
    with pytest.raises(GpuctlError, match="does not know the digest"):
        containers.digest(shell, f"{engine.registry}/no-such:1")


def test_a_login_is_tried_and_leaves_nothing_behind(shell: Shell, engine: DockerEngine) -> None:
    with pytest.raises(CredentialsError, match="docker login"):
        containers.login(shell, USER, Secret("wrong"), engine.guarded)
    image = f"{engine.guarded}/somebody/private:1"
    with pytest.raises(CredentialsError):
        containers.pull(shell, image, lambda _: None)
    containers.login(shell, USER, Secret(PASSWORD), engine.guarded)
    engine.docker("tag", engine.base, image)
    engine.docker("push", image)
    engine.docker("rmi", image)
    containers.pull(shell, image, lambda _: None)
    engine.docker("rmi", "-f", image)
    containers.logout(shell, engine.guarded)
    with pytest.raises(CredentialsError):
        containers.pull(shell, image, lambda _: None)


def test_a_container_is_watched_read_and_removed(shell: Shell, engine: DockerEngine) -> None:
    assert containers.state(shell, NAME) == ""
    with pytest.raises(NotFound, match="no container"):
        containers.logs(shell, NAME, 5)
    argv = ("sh", "-c", "echo one; echo two >&2; echo three; exec sleep 60")
    engine.docker("run", "-d", "--name", NAME, "--network", "host", engine.base, *argv)
    assert containers.state(shell, NAME) == "running"
    assert {"one", "two"} <= set(containers.logs(shell, NAME, 10))
    containers.remove(shell, NAME)
    containers.remove(shell, NAME)
    assert containers.state(shell, NAME) == ""


def test_an_engine_without_a_gpu_refuses_the_rehearsal_in_its_own_words(
    shell: Shell, engine: DockerEngine
) -> None:
    image = "gpuctl-test/sleeper:1"
    engine.docker("create", "--name", NAME, engine.base, "true")
    engine.docker("commit", "--change", 'CMD ["sleep", "60"]', NAME, image)
    with pytest.raises(GpuctlError, match="could not select device driver"):
        containers.run(shell, NAME, image, {"GPUCTL_WORKLOAD": "whisper"})
