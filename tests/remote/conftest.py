"""The three places on which every Shell test runs, and keys made once per session."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gpuctl.models import Address
from gpuctl.remote import ssh
from gpuctl.remote.base import Shell
from gpuctl.remote.local import LocalShell
from tests.support.simulator import a_running_pod, api_client, running_simulator
from tests.support.sshd import Keys, Sshd, make_keys, require_sshd

Connect = Callable[..., ssh.SshShell]


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="session")
def shared_sshd(keys: Keys) -> Iterator[Sshd]:
    require_sshd()
    daemon = Sshd(keys)
    yield daemon
    daemon.close()


@pytest.fixture
def sshd(keys: Keys) -> Iterator[Sshd]:
    """A daemon of the test's own, to freeze and to kill."""
    require_sshd()
    daemon = Sshd(keys)
    yield daemon
    daemon.close()


@pytest.fixture
def connect(keys: Keys) -> Iterator[Connect]:
    """Connects as the product does; what was opened is closed after the test."""
    opened: list[ssh.SshShell] = []

    def connect(daemon: Sshd | SimulatedPod, **changes: object) -> ssh.SshShell:
        options: dict[str, object] = {
            "key": keys.id,
            "verify": lambda key: None,
            "connect_timeout_s": 10.0,
            "keepalive_s": 15,
            "silence_limit_s": 60.0,
            "window_bytes": 4 << 20,
            "use_agent": False,
        }
        options.update(changes)
        shell = ssh.connect(daemon.address, **options)  # type: ignore[arg-type]
        opened.append(shell)
        return shell

    yield connect
    for shell in opened:
        shell.close()


@dataclass(frozen=True)
class SimulatedPod:
    """Where a simulated pod answers ssh, as a stand-in for Sshd."""

    address: Address


@pytest.fixture(scope="session")
def pod(keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedPod]:
    public_key = keys.id.with_suffix(".pub").read_text().strip()
    with running_simulator(tmp_path_factory.mktemp("sim")) as simulator:
        with api_client(simulator) as client:
            seen = a_running_pod(client, env={"PUBLIC_KEY": public_key})
        direct = seen["ssh"]["direct"]
        yield SimulatedPod(Address(direct["host"], direct["port"], "root"))


@pytest.fixture(params=["local", pytest.param("sshd", marks=pytest.mark.sshd), "simulator"])
def shell(request: pytest.FixtureRequest) -> Shell:
    if request.param == "local":
        return LocalShell()
    open_shell: Connect = request.getfixturevalue("connect")
    daemon = "shared_sshd" if request.param == "sshd" else "pod"
    return open_shell(request.getfixturevalue(daemon))


@pytest.fixture
def me() -> str:
    return getpass.getuser()


@pytest.fixture
def big_file(tmp_path: Path) -> Path:
    """3 MB that do not repeat."""
    path = tmp_path / "big"
    path.write_bytes(b"".join(number.to_bytes(4, "big") for number in range(750_000)))
    return path
