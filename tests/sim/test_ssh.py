"""A simulated pod is a real SSH machine: paramiko and OpenSSH both find what they expect."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import paramiko
import pytest

from gpuctl.models import Json
from gpuctl.sim import processes
from gpuctl.sim.launcher import Simulator
from tests.sim.ssh_client import Login, connected, execute
from tests.support.simulator import a_running_pod, until

needs_openssh = pytest.mark.skipif(shutil.which("ssh") is None, reason="OpenSSH is not installed")


@pytest.fixture
def pod(client: httpx.Client, login: Login) -> Json:
    return a_running_pod(
        client,
        gpu={"id": "NVIDIA L40S", "count": 2},
        env={"PUBLIC_KEY": login.public, "MY_OWN": "it's $HOME"},
    )


@pytest.fixture
def link(pod: Json, login: Login) -> Iterator[paramiko.Transport]:
    with connected(pod, login) as transport:
        yield transport


def folder_of(shared: Simulator, pod: Json) -> Path:
    return shared.folder / "pods" / pod["id"]


def test_output_errors_and_exit_code_arrive_apart(link: paramiko.Transport) -> None:
    answer = execute(link, "echo out; echo err >&2; exit 3")
    assert (answer.code, answer.stdout, answer.stderr) == (3, "out\n", "err\n")


def test_stdin_arrives_whole_and_ends(link: paramiko.Transport) -> None:
    sent = os.urandom(3 << 20)
    assert execute(link, "wc -c", sent).stdout.strip() == str(len(sent))


def test_a_killed_command_has_no_exit_code(link: paramiko.Transport) -> None:
    assert execute(link, "kill -9 $$").code == -1


def test_commands_see_the_pods_environment_and_not_the_operators(
    link: paramiko.Transport, pod: Json
) -> None:
    rows = execute(link, "env -0").stdout.split("\0")
    seen = dict(row.split("=", 1) for row in rows if row)
    assert seen["RUNPOD_POD_ID"] == pod["id"]
    assert seen["MY_OWN"] == "it's $HOME"
    assert seen["GPUCTL_ENGINE"] == "sim"
    assert seen["GPUCTL_WORKSPACE"].endswith(f"/pods/{pod['id']}/workspace")
    assert seen["RUNPOD_API_KEY"].startswith("rpa_pod_")
    assert "PYTEST_CURRENT_TEST" not in seen


def test_python3_there_is_the_one_gpuctl_runs_with(link: paramiko.Transport) -> None:
    answer = execute(link, "python3 -c 'import sys, PIL; print(sys.executable)'")
    assert Path(answer.stdout.strip()).parent == Path(sys.executable).parent


def test_nvidia_smi_tells_of_the_rented_cards(link: paramiko.Transport) -> None:
    listing = execute(link, "nvidia-smi -L").stdout.splitlines()
    assert len(listing) == 2
    assert listing[0].startswith("GPU 0: NVIDIA L40S (UUID: GPU-")
    query = "--query-gpu=name,memory.total,memory.used,utilization.gpu"
    answer = execute(link, f"nvidia-smi {query} --format=csv,noheader,nounits")
    assert answer.stdout.splitlines() == ["NVIDIA L40S, 49152, 512, 0"] * 2


def test_what_was_detached_outlives_the_connection_and_the_rest_does_not(
    pod: Json, login: Login, link: paramiko.Transport
) -> None:
    with connected(pod, login) as other:
        execute(other, "setsid sleep 93721.25 </dev/null >/dev/null 2>&1 &")
        channel = other.open_session()
        channel.exec_command("sleep 73129.25")
        until(lambda: "sleep 73129.25" in execute(link, "ps -eo args").stdout)
    until(lambda: "sleep 73129.25" not in execute(link, "ps -eo args").stdout)
    assert "sleep 93721.25" in execute(link, "ps -eo args").stdout


def test_a_strangers_key_is_refused(pod: Json) -> None:
    direct = pod["ssh"]["direct"]
    with (
        contextlib.closing(paramiko.Transport((direct["host"], direct["port"]))) as transport,
        pytest.raises(paramiko.AuthenticationException),
    ):
        transport.connect(username="root", pkey=paramiko.ECDSAKey.generate())


def test_account_keys_open_pods_that_asked_for_ssh(client: httpx.Client, login: Login) -> None:
    client.put("/account/ssh-keys", json={"keys": [login.public.strip()]})
    with connected(a_running_pod(client, startSsh=True), login) as transport:
        assert execute(transport, "true").code == 0
    with (
        pytest.raises(paramiko.AuthenticationException),
        connected(a_running_pod(client), login),
    ):
        pass


def test_sftp_lives_in_the_pods_folder(
    link: paramiko.Transport, shared: Simulator, pod: Json, tmp_path: Path
) -> None:
    sftp = paramiko.SFTPClient.from_transport(link)
    assert sftp is not None
    source = tmp_path / "source"
    source.write_bytes(os.urandom(1 << 20))
    sftp.put(str(source), "/workspace/a.part")
    sftp.posix_rename("/workspace/a.part", "/workspace/a")
    inside = folder_of(shared, pod) / "workspace/a"
    assert inside.read_bytes() == source.read_bytes()
    sftp.get(str(inside), str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == source.read_bytes()
    assert sftp.normalize(".") == "/root"
    assert sftp.listdir("/workspace") == ["a"]
    sftp.remove("/workspace/a")
    with pytest.raises(FileNotFoundError):
        sftp.stat("/workspace/a")


@pytest.mark.parametrize("path", ["/etc/passwd", "/workspace/../../../state.json", "link/passwd"])
def test_sftp_cannot_leave_the_pod(
    link: paramiko.Transport, shared: Simulator, pod: Json, path: str
) -> None:
    (folder_of(shared, pod) / "root/link").symlink_to("/etc")
    sftp = paramiko.SFTPClient.from_transport(link)
    assert sftp is not None
    with pytest.raises(OSError, match=r"No such file|outside|denied"):
        sftp.open(path)


def test_tunnels_reach_loopback_and_nothing_else(link: paramiko.Transport) -> None:
    class Echo(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while data := self.request.recv(1 << 16):
                self.request.sendall(data.upper())

    with socketserver.TCPServer(("127.0.0.1", 0), Echo) as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        channel = link.open_channel("direct-tcpip", service.server_address, ("127.0.0.1", 1))
        channel.sendall(b"hello")
        channel.shutdown_write()
        assert b"".join(iter(lambda: channel.recv(100), b"")) == b"HELLO"
        service.shutdown()
    with pytest.raises(paramiko.ChannelException):
        link.open_channel("direct-tcpip", ("192.0.2.1", 80), ("127.0.0.1", 1))


def test_a_terminal_knows_its_size_and_is_told_of_a_new_one(link: paramiko.Transport) -> None:
    channel = link.open_session()
    channel.settimeout(10)
    channel.get_pty("xterm", 101, 33)
    channel.invoke_shell()
    channel.sendall(b"stty size; tty; echo TERM=$TERM\n")
    shown = read_until(channel, "TERM=xterm")
    assert "33 101" in shown
    assert "/dev/" in shown
    channel.resize_pty(120, 40)
    channel.sendall(b"stty size\n")
    assert "40 120" in read_until(channel, "40 120")
    channel.sendall(b"exit 5\n")
    assert channel.recv_exit_status() == 5


def read_until(channel: paramiko.Channel, text: str) -> str:
    shown = ""
    while text not in shown:
        data = channel.recv(1 << 16)
        assert data, shown
        shown += data.decode()
    return shown


def test_a_resident_link_survives_half_a_gigabyte(link: paramiko.Transport) -> None:
    """paramiko would ask for new keys after 512 MiB and may dead-lock; neither side does here."""
    link.packetizer.REKEY_BYTES = 1 << 40  # type: ignore[attr-defined]
    channel = link.open_session(window_size=8 << 20)
    channel.exec_command("head -c 540000000 /dev/zero")
    received = 0
    while data := channel.recv(1 << 20):
        received += len(data)
    assert (received, channel.recv_exit_status()) == (540_000_000, 0)


@needs_openssh
def test_openssh_gets_the_same_answers(pod: Json, login: Login, tmp_path: Path) -> None:
    base = [*openssh_options(tmp_path, login), "-p", str(pod["ssh"]["direct"]["port"])]
    ran = subprocess.run(
        ["ssh", *base, "root@127.0.0.1", "cat; echo err >&2; exit 7"],
        input=b"typed", capture_output=True, timeout=30,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout) == (7, b"typed")
    assert ran.stderr.endswith(b"err\n")
    terminal = subprocess.run(
        ["ssh", "-tt", *base, "root@127.0.0.1", "test -t 0 && tty"],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=30,
    )  # fmt: skip
    assert b"/dev/" in terminal.stdout


@needs_openssh
def test_openssh_sftp_works(pod: Json, login: Login, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    batch = f"cd /workspace\nput {tmp_path}/a b\nrename b c\nls -l\nget c {tmp_path}/d\nrm c\nbye\n"
    ran = subprocess.run(
        ["sftp", "-b", "-", *openssh_options(tmp_path, login),
         "-P", str(pod["ssh"]["direct"]["port"]), "root@127.0.0.1"],
        input=batch.encode(), capture_output=True, timeout=30,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "d").read_bytes() == b"content"


def openssh_options(folder: Path, login: Login) -> list[str]:
    settings = {
        "IdentityFile": login.private,
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": folder / "known_hosts",
        "StrictHostKeyChecking": "accept-new",
        "LogLevel": "ERROR",
        "BatchMode": "yes",
    }
    return ["-F", "none", *(word for k, v in settings.items() for word in ("-o", f"{k}={v}"))]


def test_nothing_listens_but_on_loopback(shared: Simulator, pod: Json) -> None:
    listening = listening_addresses(shared.pid)
    assert len(listening) >= 2
    assert {address for address, _ in listening} == {"127.0.0.1"}
    assert pod["ssh"]["direct"]["port"] in {port for _, port in listening}


def listening_addresses(pid: int) -> set[tuple[str, int]]:
    """IPv4 and IPv6 sockets in LISTEN (0A) that belong to the process."""
    if not Path(f"/proc/{pid}/fd").is_dir():
        pytest.skip("needs /proc")
    inodes = {
        link.readlink().name[8:-1]
        for link in Path(f"/proc/{pid}/fd").iterdir()
        if link.readlink().name.startswith("socket:")
    }
    found = set()
    for table in ("tcp", "tcp6"):
        for row in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *rest = row.split()
            if state == "0A" and rest[5] in inodes:
                address, port = local.split(":")
                is_four = table == "tcp"
                shown = socket.inet_ntoa(bytes.fromhex(address)[::-1]) if is_four else address
                found.add((shown, int(port, 16)))
    return found


def test_a_pods_processes_can_be_found(link: paramiko.Transport, pod: Json) -> None:
    execute(link, "setsid sleep 777 </dev/null >/dev/null 2>&1 &")
    assert until(lambda: processes.with_marker("RUNPOD_POD_ID", pod["id"]))
