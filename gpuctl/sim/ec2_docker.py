"""`docker` on a simulated instance: images are names, a container is the workload's own service.

Runs as a program of its own (`python ec2_docker.py pull IMAGE`), in the instance's environment:
GPUCTL_ROOT is its disk, GPUCTL_SIM_SCRIPTS what the image would carry.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

GRACE_S = 2.0
# Options of `docker run` that are followed by a value.
_VALUED = ("-e", "--env", "--name", "--gpus", "--network", "--restart", "--shm-size", "-v", "-p")


def main(argv: list[str]) -> int:
    verbs: dict[str, Callable[[list[str]], int]] = {
        "info": lambda _: 0,
        "login": _login,
        "logout": lambda _: 0,
        "pull": _pull,
        "run": _run,
        "logs": _logs,
        "rm": _remove,
        "inspect": _inspect,
        "image": lambda rest: _image(rest[1:]),
    }
    verb = verbs.get(argv[0] if argv else "")
    if verb is None:
        return _fail(f"docker: '{' '.join(argv)}' is not simulated")
    return verb(argv[1:])


def _login(rest: list[str]) -> int:
    if "--password-stdin" not in rest or not sys.stdin.read().strip():
        return _fail("Error: Cannot perform an interactive login from a non TTY device")
    return _say("Login Succeeded")


def _pull(rest: list[str]) -> int:
    image = rest[-1]
    time.sleep(float(os.environ.get("GPUCTL_SIM_PULL_S", "0.1")))
    digest = _digest(image)
    if digest is None:
        return _fail(
            f"Error response from daemon: manifest for {image} not found: manifest unknown"
        )
    state = _state()
    state["images"][image] = digest
    _write(state)
    return _say(f"Digest: {digest}\nStatus: Downloaded newer image for {image}")


def _digest(image: str) -> str | None:
    """What the simulator's registry has under that name; None when it has nothing. The layers stay
    there: a container runs this computer's own copy of the scripts."""
    name, tag, digest = _named(image)
    first = name.partition("/")[0]
    if "." in first or ":" in first or first == "localhost":
        name = name.lower().replace(":", "-")
    elif "/" not in name:
        name = f"library/{name}"
    registry = os.environ["GPUCTL_SIM_REGISTRY"]
    try:
        token = json.loads(_get(f"{registry}/token").read())["token"]
        answer = _get(f"{registry}/v2/{name}/manifests/{digest or tag}", token)
    except (OSError, ValueError, KeyError):
        return None
    found: str | None = answer.headers["Docker-Content-Digest"]
    return found


def _named(image: str) -> tuple[str, str, str]:
    """Repository, tag and digest; a colon of the registry's port is none of a tag."""
    name, _, digest = image.partition("@")
    if ":" not in name.rpartition("/")[2]:
        return name, "latest", digest
    repository, _, tag = name.rpartition(":")
    return repository, tag, digest


def _get(url: str, token: str = "") -> Any:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10)


def _image(rest: list[str]) -> int:
    image = rest[-1]
    found = _state()["images"].get(image)
    if found is None:
        return _fail(f"Error: No such image: {image}")
    return _say(f"{_named(image)[0]}@{found}")


def _run(rest: list[str]) -> int:
    options, image = _parsed(rest)
    state, name = _state(), options["--name"]
    if name in state["containers"]:
        return _fail(f'docker: Error response from daemon: the name "/{name}" is already in use')
    if image not in state["images"]:
        return _fail(f"Unable to find image '{image}' locally")
    env = {**os.environ, **options["env"]}
    workload = env.get("GPUCTL_WORKLOAD", "")
    scripts = Path(env["GPUCTL_SIM_SCRIPTS"])
    log = _disk() / "log" / name
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-B", str(scripts / "run.py"), "service", workload],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={**env, "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
    state["containers"][name] = {"pid": process.pid, "image": image, "started": time.time()}
    _write(state)
    process.returncode = 0  # it runs on by intent
    return _say(hashlib.sha256(f"{name} {process.pid}".encode()).hexdigest())


def _parsed(rest: list[str]) -> tuple[dict[str, Any], str]:
    """Options, and the image: the first word that belongs to none."""
    options: dict[str, Any] = {"env": {}, "--name": "container"}
    words = iter(rest)
    for word in words:
        if word in ("-e", "--env"):
            key, _, value = next(words).partition("=")
            options["env"][key] = value
        elif word in _VALUED:
            options[word] = next(words)
        elif not word.startswith("-"):
            return options, word
    return options, ""


def _logs(rest: list[str]) -> int:
    tail = int(rest[rest.index("--tail") + 1]) if "--tail" in rest else None
    file = _disk() / "log" / rest[-1]
    if not file.is_file():
        return _fail(f"Error response from daemon: No such container: {rest[-1]}")
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    return _say("\n".join(lines[-tail:] if tail else lines))


def _inspect(rest: list[str]) -> int:
    container = _state()["containers"].get(rest[-1])
    if container is None:
        return _fail(f"Error: No such object: {rest[-1]}")
    return _say("running" if _is_alive(container["pid"]) else "exited")


def _remove(rest: list[str]) -> int:
    state = _state()
    container = state["containers"].pop(rest[-1], None)
    if container is None:
        return _fail(f"Error: No such container: {rest[-1]}")
    _end(container["pid"])
    _write(state)
    return _say(rest[-1])


def _end(group: int) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(group, number)
        except ProcessLookupError:
            return
        until = time.monotonic() + GRACE_S
        while _is_alive(group) and time.monotonic() < until:
            time.sleep(0.02)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[:1] != ["Z"]


def _disk() -> Path:
    return Path(os.environ["GPUCTL_ROOT"]) / "var/lib/docker"


def _state() -> dict[str, dict[str, Any]]:
    try:
        found: dict[str, dict[str, Any]] = json.loads((_disk() / "state.json").read_bytes())
    except OSError:
        return {"images": {}, "containers": {}}
    return found


def _write(state: dict[str, dict[str, Any]]) -> None:
    _disk().mkdir(parents=True, exist_ok=True)
    part = _disk() / f"state.{os.getpid()}.part"
    part.write_text(json.dumps(state), encoding="utf-8")
    part.replace(_disk() / "state.json")


def _say(text: str) -> int:
    sys.stdout.write(f"{text}\n")
    return 0


def _fail(text: str) -> int:
    sys.stderr.write(f"{text}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
