"""Docker on a machine, over one Shell: pulled by digest, run with its GPU, looked at, removed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing

from gpuctl.errors import ConnectionFailed, CredentialsError, GpuctlError, NotFound
from gpuctl.models import Secret
from gpuctl.remote.base import LOST, Completed, Shell

LIMIT_S = 60.0


def login(shell: Shell, user: str, token: Secret, registry: str | None) -> None:
    """The token travels on stdin. Raises CredentialsError."""
    argv = ["docker", "login", "-u", user, "--password-stdin", *([registry] if registry else [])]
    done = shell.run(argv, stdin=token.reveal().encode() + b"\n", timeout_s=LIMIT_S)
    if _code(done) != 0:
        raise CredentialsError(f"docker login on the machine: {_last(done)}", hint="gpuctl doctor")


def logout(shell: Shell, registry: str | None) -> None:
    """What was logged in with is not left behind."""
    shell.run(["docker", "logout", *([registry] if registry else [])], timeout_s=LIMIT_S)


def pull(shell: Shell, image: str, on_line: Callable[[str], object]) -> None:
    """Raises NotFound for an image that the registry does not show, CredentialsError,
    GpuctlError."""
    with closing(shell.start(["docker", "pull", image])) as process:
        for line in process.lines():
            on_line(line)
        code = process.wait()
        said = process.stderr_text().strip()
    if code == LOST:
        raise ConnectionFailed("the connection was lost while the image was being pulled")
    if code != 0:
        raise _pull_error(image, _reason(said) or f"exit code {code}")


def is_there(shell: Shell, image: str) -> bool:
    return _code(shell.run(["docker", "image", "inspect", image], timeout_s=LIMIT_S)) == 0


def digest(shell: Shell, image: str) -> str:
    """sha256:… under which the registry has what was pulled. Raises GpuctlError."""
    argv = ["docker", "image", "inspect", "--format", "{{index .RepoDigests 0}}", image]
    done = shell.run(argv, timeout_s=LIMIT_S)
    _, at, found = done.stdout.strip().partition("@")
    if _code(done) != 0 or not at:
        raise GpuctlError(f"docker does not know the digest of {image}: {_last(done)}")
    return found


def run(shell: Shell, name: str, image: str, env: Mapping[str, str]) -> str:
    """Starts it in the background with every GPU; its ports are those of the machine's loopback.

    Replaces one of the same name. The container's id. Raises GpuctlError.
    """
    remove(shell, name)
    options = [word for key, value in env.items() for word in ("-e", f"{key}={value}")]
    argv = ["docker", "run", "-d", "--name", name, "--gpus", "all", "--network", "host"]
    done = shell.run([*argv, "--shm-size", "1g", *options, image], timeout_s=LIMIT_S)
    if _code(done) != 0:
        raise GpuctlError(f"{image} does not start: {_last(done)}")
    return done.stdout.strip()


def state(shell: Shell, name: str) -> str:
    """running, exited, …; empty without such a container."""
    argv = ["docker", "inspect", "--format", "{{.State.Status}}", name]
    done = shell.run(argv, timeout_s=LIMIT_S)
    return done.stdout.strip() if _code(done) == 0 else ""


def logs(shell: Shell, name: str, tail: int) -> list[str]:
    """The last lines of both its streams. Raises NotFound."""
    done = shell.run(["docker", "logs", "--tail", str(tail), name], timeout_s=LIMIT_S)
    if _code(done) != 0:
        raise NotFound(f"there is no container {name} on it", hint="gpuctl ec2 test")
    return [*done.stdout.splitlines(), *done.stderr.splitlines()][-tail:]


def remove(shell: Shell, name: str) -> None:
    """One that is not there is success."""
    shell.run(["docker", "rm", "-f", name], timeout_s=LIMIT_S)


def _pull_error(image: str, said: str) -> GpuctlError:
    if any(word in said for word in ("no basic auth", "unauthorized")):
        return CredentialsError(f"{image} cannot be pulled: {said}", hint="dockerhub.token")
    if any(word in said for word in ("not found", "manifest unknown", "denied", "does not exist")):
        return NotFound(
            f"{image} cannot be pulled: {said}", hint="gpuctl push, or set dockerhub.token"
        )
    return GpuctlError(f"{image} cannot be pulled: {said}")


def _code(done: Completed) -> int:
    if done.exit_code == LOST:
        raise ConnectionFailed("the connection was lost before docker answered")
    return done.exit_code


def _last(done: Completed) -> str:
    return _reason(done.stderr or done.stdout) or f"exit code {done.exit_code}"


def _reason(said: str) -> str:
    """The line that says why: docker may put advice behind it, and warnings before it."""
    lines = [line.strip() for line in said.strip().splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or [""])[-1]
