"""Debian's own Docker engine and registries on this computer, for a test session.

The flags are those of feasibility.md §3: no bridge and no iptables, so that nothing of the network
is touched. Everything lies under one short folder in /tmp: a Unix socket's path has a limit.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import websockets as websockets_package

DOCKERD = Path("/usr/sbin/dockerd")
PROGRAMS = ("docker", "docker-registry", "htpasswd", "buildah", "busybox")
USER, PASSWORD = "me", "s3cret-password"
START_LIMIT_S = 20.0
# A session that is killed takes its daemons with it.
_WITH_US = ("setpriv", "--pdeathsig", "TERM")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_APPLETS = (
    "sh", "cat", "chmod", "chown", "echo", "false", "grep", "kill", "ls", "mkdir", "printf", "rm",
    "sleep", "sort", "test", "true", "[", "dd", "touch",
)  # fmt: skip


@dataclass(frozen=True)
class DockerEngine:
    """`registry` lets everybody in, `guarded` only USER with PASSWORD; both are host:port."""

    folder: Path
    host: str
    registry: str
    guarded: str
    base: str

    @property
    def environ(self) -> dict[str, str]:
        """What makes docker and buildah work in this session's folder."""
        return {
            "DOCKER_HOST": self.host,
            # The steps of a build have no network here, and BuildKit insists on a bridge.
            "DOCKER_BUILDKIT": "0",
            **buildah_environ(self.folder),
        }

    def docker(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return run("docker", *words, environ=self.environ, check=check)

    def take_in(self, archive: Path, name: str) -> str:
        """Makes an image of a folder's archive. Bases have a PATH; what is imported has none."""
        self.docker("import", "--change", f"ENV PATH={_PATH}", str(archive), name)
        return name


def require_docker() -> None:
    """Skips where a part is missing; with GPUCTL_TEST_REQUIRE=docker that is a failure."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if not DOCKERD.exists():
        missing.append("dockerd")
    if os.geteuid() != 0:
        missing.append("root's rights")
    if missing:
        pytest.skip(
            f"missing: {', '.join(missing)} (apt-get install docker.io docker-registry "
            "apache2-utils busybox-static buildah)"
        )


@contextmanager
def running_engine() -> Iterator[DockerEngine]:
    """An engine, two registries and a base image; all of it is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="gd-", dir="/tmp"))
    started: list[subprocess.Popen[bytes]] = []
    try:
        with dockerd(folder) as host:
            registry = _registry(folder, "open", started)
            guarded = _registry(folder, "guarded", started, auth=_htpasswd(folder))
            engine = DockerEngine(folder, host, registry, guarded, "gpuctl-test/base:1")
            engine.take_in(base_archive(folder), engine.base)
            yield engine
    finally:
        for process in started:
            process.kill()
            process.wait()
        unmount_below(folder)  # buildah's store is one
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def dockerd(folder: Path, *, driver: str = "overlay2") -> Iterator[str]:
    """The daemon alone: gives the address of its socket, ends it by its process id."""
    work = folder / "d"
    work.mkdir(exist_ok=True)
    host = f"unix://{work}/s"
    words = [
        *_WITH_US, str(DOCKERD), "--data-root", f"{work}/root", "--exec-root", f"{work}/exec",
        "-H", host, "-p", f"{work}/pid", "--storage-driver", driver, "--iptables=false",
        "--ip6tables=false", "--bridge=none",
    ]  # fmt: skip
    with (work / "log").open("wb") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        _until(lambda: run("docker", "version", environ={"DOCKER_HOST": host}, check=False)
               .returncode == 0, lambda: (work / "log").read_text(errors="replace"))  # fmt: skip
        yield host
    finally:
        stop(process)
        end_below(work)
        unmount_below(work)


def stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM ends the containers and containerd with it; SIGKILL is for one that hangs."""
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def end_below(folder: Path) -> None:
    """What an engine that was killed leaves: its containerd, the containers and their shims."""
    for process in [path for path in Path("/proc").iterdir() if path.name.isdigit()]:
        with suppress(OSError):
            if str(folder).encode() in (process / "cmdline").read_bytes():
                for pid in (*_children(process), int(process.name)):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)


def _children(process: Path) -> list[int]:
    listed = (process / f"task/{process.name}/children").read_text()
    return [int(pid) for pid in listed.split()]


def base_archive(folder: Path) -> Path:
    """busybox, and this computer's own sshd with what it is linked to: a base without a network.

    apt-get and python3 are there as programs that do nothing: installing is not what is tested.
    """
    root = folder / "base"
    for name in ("bin", "etc/ssh", "run", "tmp", "root", "usr/bin", "usr/sbin", "var/empty"):
        (root / name).mkdir(parents=True, exist_ok=True)
    shutil.copy(shutil.which("busybox") or "/bin/busybox", root / "bin/busybox")
    for applet in _APPLETS:
        (root / "bin" / applet).symlink_to("busybox")
    for program in ("/usr/sbin/sshd", "/usr/bin/ssh-keygen"):
        if Path(program).exists():
            _with_libraries(root, program)
    _script(root / "usr/bin/apt-get", "exit 0")
    _script(root / "usr/bin/python3", "exit 0")
    _script(root / "usr/bin/tini", 'shift; exec "$@"')
    (root / "etc/passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\nsshd:x:100:65534::/run/sshd:/bin/false\n"
        "worker:x:1000:1000::/tmp:/bin/sh\n"
    )
    (root / "etc/group").write_text("root:x:0:\nworker:x:1000:\n")
    (root / "etc/ssh/sshd_config").write_text("ListenAddress 127.0.0.1\nStrictModes no\n")
    archive = folder / "base.tar"
    subprocess.run(["tar", "-C", root, "-cf", archive, "."], check=True)
    return archive


def python_archive(folder: Path) -> Path:
    """The base with a real Python, bash and setpriv as well: an image's service can run on it.

    `python3 -m venv` and pip only pretend: a service that needs more than the standard library is
    simulated here (GPUCTL_ENGINE=sim).
    """
    root = folder / "base"
    for applet in subprocess.run(
        ["busybox", "--list"], capture_output=True, text=True, check=True
    ).stdout.split():
        if not (root / "bin" / applet).exists() and applet != "busybox":
            (root / "bin" / applet).symlink_to("busybox")
    for program in ("/usr/bin/python3.11", "/bin/bash", "/usr/bin/setpriv", "/usr/bin/env"):
        _with_libraries(root, program)
    # busybox's shell takes its own setpriv and env before any other.
    (root / "bin/sh").unlink()
    (root / "bin/sh").symlink_to("bash")
    left_out = shutil.ignore_patterns("__pycache__", "test", "config-3*", "pydoc_data", "ensurepip")
    library = Path("usr/lib/python3.11")
    shutil.copytree("/" / library, root / library, ignore=left_out, dirs_exist_ok=True)
    for module in (root / library / "lib-dynload").glob("*.so"):
        _with_libraries(root, f"/{module.relative_to(root)}")
    # The one package that a simulated service needs.
    websockets = Path(websockets_package.__file__).parent
    shutil.copytree(
        websockets, root / "usr/lib/python3/dist-packages/websockets", ignore=left_out,
        dirs_exist_ok=True,
    )  # fmt: skip
    (root / "usr/bin/python3").unlink()
    _script(root / "usr/bin/python3", _PRETENDED_VENV)
    _script(root / "usr/bin/curl", 'for word; do :; done; exec wget -q -O - "$word"')
    _script(
        root / "usr/sbin/useradd",
        "echo whisper:x:10001:10001::/home/whisper:/bin/sh >>/etc/passwd; "
        "echo whisper:x:10001: >>/etc/group; mkdir -p /home/whisper",
    )
    archive = folder / "python.tar"
    subprocess.run(["tar", "-C", root, "-cf", archive, "."], check=True)
    return archive


_PRETENDED_VENV = """\
if [ "$1 $2" = "-m venv" ]; then
    mkdir -p "$3/bin" "$3/lib/python3.11/site-packages/nvidia"
    printf '#!/bin/sh\\n' >"$3/bin/pip"
    ln -s /usr/bin/python3.11 "$3/bin/python3"
    chmod 755 "$3/bin/pip"
    exit
fi
exec /usr/bin/python3.11 "$@"
"""


def buildah_environ(folder: Path) -> dict[str, str]:
    """buildah with a store of its own and without namespaces of its own."""
    store, names = folder / "storage.conf", folder / "registries.conf"
    store.write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/b"\nrunroot = "{folder}/br"\n'
    )
    names.write_text('unqualified-search-registries = ["docker.io"]\n')
    return {
        "CONTAINERS_STORAGE_CONF": str(store),
        "CONTAINERS_REGISTRIES_CONF": str(names),
        "BUILDAH_ISOLATION": "chroot",
    }


def run(
    *words: str, environ: Mapping[str, str], check: bool = True
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        words,
        env={**os.environ, **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done


def _with_libraries(root: Path, program: str) -> None:
    told = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    words = [word for word in told.split() if word.startswith("/")]
    for name in dict.fromkeys([program, *words]):
        target = root / name.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(name, target)


def _script(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def _htpasswd(folder: Path) -> str:
    words = ["htpasswd", "-Bbn", "-C", "4", USER, PASSWORD]
    file = folder / "htpasswd"
    file.write_bytes(subprocess.run(words, capture_output=True, check=True).stdout)
    return f"auth: {{htpasswd: {{realm: test, path: {file}}}}}\n"


def _registry(
    folder: Path, name: str, started: list[subprocess.Popen[bytes]], auth: str = ""
) -> str:
    """docker-registry on a free port. A port taken by somebody else meanwhile: another is tried."""
    for _ in range(5):
        address = f"127.0.0.1:{_free_port()}"
        file, log = folder / f"{name}.yml", folder / f"{name}.log"
        file.write_text(
            "version: 0.1\nlog: {level: warn}\n"
            f"storage: {{filesystem: {{rootdirectory: {folder}/{name}}}}}\n"
            f'http: {{addr: "{address}"}}\n{auth}'
        )
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*_WITH_US, "docker-registry", "serve", str(file)], stdout=out, stderr=out
            )
        started.append(process)
        with suppress(AssertionError):
            _until(lambda at=address: _listens(at), lambda at=log: at.read_text(), process)
            return address
    raise AssertionError("no registry could be started")


def _listens(address: str) -> bool:
    host, _, port = address.partition(":")
    try:
        socket.create_connection((host, int(port)), 1).close()
    except OSError:
        return False
    return True


def _until(look: object, log: object, process: subprocess.Popen[bytes] | None = None) -> None:
    assert callable(look)
    assert callable(log)
    deadline = time.monotonic() + START_LIMIT_S
    while not look():
        is_over = time.monotonic() > deadline or (
            process is not None and process.poll() is not None
        )
        assert not is_over, log()
        time.sleep(0.02)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def unmount_below(folder: Path) -> None:
    """Deepest first. Among them the engine's own network namespace, which outlives it."""
    lines = Path("/proc/self/mounts").read_text().splitlines()
    found = [line.split()[1] for line in lines if line.split()[1].startswith(f"{folder}/")]
    for mount in sorted(found, reverse=True):
        subprocess.run(["umount", "-l", mount], check=False, capture_output=True)
