"""Into a machine and out again: exec, ssh, connect, wait and tunnel, as typed."""

from __future__ import annotations

import dataclasses
import json
import re
import signal
import stat
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpuctl.sim import launcher
from gpuctl.state import State
from tests.journeys.conftest import until
from tests.support.household import Household, ended, household, read_until
from tests.support.simulator import a_running_pod, api_client

STRANGE = ["", "a b", "it's", 'say "hi"', "two\nlines", "grüße €", "$HOME `id` \\", "-n", "*"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Household]:
    with household(tmp_path_factory.mktemp("home")) as one:
        yield one


def is_alive(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return text.rpartition(")")[2].split()[0] not in "ZX"


# exec


@pytest.mark.parametrize("code", [0, 2, 3, 130, 137, 255])
@pytest.mark.parametrize("command", ["exec", "ssh"])
def test_the_exit_code_of_the_remote_command_is_ours(
    home: Household, command: str, code: int
) -> None:
    done = home.runs("--sim", command, "--", "sh", "-c", f"exit {code}")
    assert (done.code, done.stdout) == (code, b"")


@pytest.mark.parametrize("command", ["exec", "ssh"])
def test_words_arrive_as_they_are(home: Household, command: str) -> None:
    show = 'printf "%s\\0" "$@"'
    done = home.runs("--sim", command, "--", "sh", "-c", show, "sh", *STRANGE)
    assert done.stdout.decode().split("\0")[:-1] == STRANGE, done.said


def test_bytes_go_through_unchanged_and_stderr_stays_apart(home: Household) -> None:
    every = bytes(range(256)) * 5000
    done = home.runs("--sim", "exec", "--", "sh", "-c", "cat; echo apart >&2", stdin=every)
    assert done.stdout == every
    assert (done.code, done.stderr) == (0, b"apart\n")


def test_without_stdin_the_command_meets_its_end_at_once(home: Household) -> None:
    assert home.runs("--sim", "exec", "--no-stdin", "--", "cat", stdin=b"kept").stdout == b""
    assert home.runs("--sim", "exec", "--", "cat").code == 0


def test_json_holds_exit_code_and_both_streams(home: Household) -> None:
    done = home.simulates("exec", "--", "sh", "-c", "echo out; echo err >&2; exit 2")
    assert done.code == 2
    data = done.envelope["data"]
    assert (data["exit_code"], data["stdout"], data["stderr"]) == (2, "out\n", "err\n")


def test_output_comes_while_the_command_runs_and_ctrl_c_ends_it_there(home: Household) -> None:
    process = home.start("--sim", "exec", "--", "sh", "-c", "echo pid $$; exec sleep 600")
    pid = int(read_until(process, "pid").split()[1])
    assert is_alive(pid)
    assert ended(process).code == 130
    assert not is_alive(pid)


def test_what_ignores_ctrl_c_is_ended_all_the_same(home: Household) -> None:
    """Slow: the command is given two seconds to obey."""
    stubborn = "trap '' INT; echo pid $$; while :; do sleep 0.1; done"
    process = home.start("--sim", "exec", "--", "sh", "-c", stubborn)
    pid = int(read_until(process, "pid").split()[1])
    assert ended(process).code == 130
    until(lambda: not is_alive(pid), "its end")


def test_a_lost_connection_is_no_exit_code(home: Household) -> None:
    home.fault("ssh-drop", "--value", "seconds:0.3")
    done = home.simulates("exec", "--", "sleep", "20")
    assert (done.code, done.error["code"]) == (1, "unreachable")


def test_a_dry_run_runs_nothing(home: Household) -> None:
    done = home.simulates("--dry-run", "exec", "--", "touch", "dry")
    assert done.data["argv"] == ["touch", "dry"]
    assert not (home.workspace.parent / "root/dry").exists()


def test_a_machine_goes_by_name_id_workload_and_the_end_of_its_name(home: Household) -> None:
    machine = home.simulates("status").data["machines"][0]
    for name in (machine["name"], machine["id"], "flux", machine["name"][-6:]):
        assert home.simulates("exec", "--on", name, "--", "true").code == 0, name
    assert home.simulates("exec", "--on", "nobody", "--", "true").code == 3
    assert home.types("exec", "--on", "nobody", "--", "true").code == 3, "without a key as well"


# ssh


def ssh_argv(home: Household) -> list[str]:
    argv: list[str] = home.types("--sim", "ssh", "--dry-run").stdout.split()
    return argv


def test_ssh_gets_our_key_and_our_pins_and_leaves_the_users_own_alone(home: Household) -> None:
    mine = Path("~/.ssh").expanduser()
    before = sorted(mine.iterdir()) if mine.is_dir() else None
    done = home.runs("--sim", "ssh", "flux", "--", "echo $((20 + 1)); echo apart >&2")
    assert (done.code, done.stdout, done.stderr) == (0, b"21\n", b"apart\n")
    [pins] = (home.sim_folder / "client/known_hosts").iterdir()
    assert stat.S_IMODE(pins.stat().st_mode) == 0o600
    assert pins.read_text().startswith(f"gpuctl-{pins.name} ssh-ed25519 ")
    assert (sorted(mine.iterdir()) if mine.is_dir() else None) == before
    assert not (home.home / ".ssh").exists()


def test_a_shell_reads_what_is_piped_into_ssh(home: Household) -> None:
    done = home.runs("--sim", "ssh", stdin=b"echo in; exit 4\n")
    assert (done.code, done.stdout) == (4, b"in\n")


def test_ssh_refuses_a_machine_that_shows_another_key(home: Household) -> None:
    state = State(home.sim_folder / "client/state.db")
    [machine] = state.machines()
    pin = state.pinned(machine.id)
    assert pin is not None
    blob = "AAAAC3NzaC1lZDI1NTE5AAAAIMoved0000000000000000000000000000000000000000"[:68]
    state.pin(dataclasses.replace(pin, key=f"ssh-ed25519 {blob}"))
    try:
        done = home.runs("--sim", "ssh", "--", "true")
    finally:
        state.pin(pin)
    assert done.code == 255
    assert "verification failed" in done.said
    assert home.runs("--sim", "ssh", "--", "true").code == 0


def test_ssh_finds_a_machine_that_moved_and_pins_its_new_key(home: Household) -> None:
    home.fault("new-address")
    before = State(home.sim_folder / "client/state.db").machines()[0].address

    def moved() -> bool:
        address = home.simulates("status").data["machines"][0]["address"]
        return before is not None and address is not None and address["port"] != before.port

    until(moved, "the new address")
    done = home.runs("--sim", "ssh", "--", "echo in")
    assert (done.code, done.stdout) == (0, b"in\n"), done.said


def test_ssh_without_ssh_says_what_to_install(home: Household) -> None:
    environ = home.environ
    home.environ = {**environ, "PATH": "/nonexistent"}
    try:
        done = home.runs("--sim", "ssh")
    finally:
        home.environ = environ
    assert done.code == 1
    assert "openssh-client" in done.said


# connect and wait


def test_connect_tells_each_step_and_how_ssh_would_go(home: Household) -> None:
    [found] = home.simulates("connect").data["machines"]
    assert found["usable"] is True
    names = [check["name"] for check in found["checks"]]
    assert names == ["address", "port", "server", "login", "gpu"]
    assert found["checks"][2]["detail"].startswith("SSH-2.0-")
    assert re.fullmatch(r"1 × NVIDIA .+", found["checks"][4]["detail"])
    assert found["ssh"].startswith("ssh ")


def test_connect_all_tells_of_every_running_machine(home: Household) -> None:
    assert len(home.simulates("connect", "--all").data["machines"]) == 1
    assert home.simulates("connect", "--all", "flux").code == 2


def test_wait_is_content_with_a_machine_that_can_be_used(home: Household) -> None:
    assert home.simulates("wait", "flux", "--timeout", "30").data["machine"]["status"] == "RUNNING"
    assert home.simulates("wait", "flux", "--timeout", "soon").code == 2


def test_a_machine_that_is_late_is_left_as_it_is_and_the_price_is_said(
    tmp_path: Path,
) -> None:
    with household(tmp_path / "late", machine=False) as home:
        assert home.simulates("status").code == 0
        home.fault("slow-start", "--value", "2")
        assert home.simulates("deploy", "flux", "--no-wait").code == 0
        done = home.simulates("wait", "--timeout", "0.3")
        assert (done.code, done.error["code"]) == (7, "timed_out")
        assert "$" in done.error["message"]
        assert home.simulates("wait", "--timeout", "20").code == 0
        assert home.simulates("stop", "flux").code == 0
        stopped = home.simulates("wait")
        assert stopped.code == 1
        assert stopped.error["hint"].startswith("gpuctl start ")
        assert home.simulates("connect").error["hint"].startswith("gpuctl start ")


def test_without_any_machine_the_way_to_one_is_named(tmp_path: Path) -> None:
    with household(tmp_path / "empty", machine=False) as home:
        for command in (["ssh"], ["exec", "--", "true"], ["df"], ["logs"], ["wait"]):
            done = home.types("--sim", *command)
            assert done.code == 3, done
            assert "gpuctl deploy" in done.stderr


def test_with_two_machines_one_has_to_be_named(tmp_path: Path) -> None:
    with household(tmp_path / "two") as home:
        first = home.simulates("status").data["machines"][0]["name"]
        running = launcher.running(home.sim_folder)
        assert running is not None
        with api_client(running) as client:
            second = a_running_pod(client, name="gpuctl-flux-01k0000000000000000000000b")
        assert home.simulates("status").code == 0
        done = home.simulates("exec", "--", "true")
        assert done.code == 2
        assert first in done.error["message"]
        assert second["name"] in done.error["message"]
        assert home.simulates("exec", "--on", first, "--", "true").code == 0


# tunnel


@pytest.fixture(scope="module")
def service(home: Household) -> Iterator[int]:
    """A web server in the pod, on a port of its own choice."""
    script = (
        "import http.server, sys\n"
        "server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), "
        "http.server.SimpleHTTPRequestHandler)\n"
        "open('port', 'w').write(str(server.server_port))\n"
        "server.serve_forever()\n"
    )
    serve = 'cd "$GPUCTL_WORKSPACE" && mkdir -p web && cd web && echo hello > page && '
    serve += 'setsid python3 -c "$1" </dev/null >/dev/null 2>&1 & :'
    assert home.runs("--sim", "exec", "--", "sh", "-c", serve, "sh", script).code == 0
    file = home.workspace / "web/port"
    until(lambda: file.exists() and file.read_text(), "the web server")
    return int(file.read_text())


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        found: bytes = answer.read()
    return found


def test_a_tunnel_leads_to_the_service_and_comes_back_after_a_drop(
    home: Household, service: int
) -> None:
    process = home.start("--sim", "tunnel", f"0:{service}")
    try:
        url = read_until(process, "http").strip()
        assert url.startswith("http://127.0.0.1:")
        assert get(f"{url}/page") == b"hello\n"
        home.fault("new-address")

        def answers_again() -> bool:
            try:
                return get(f"{url}/page") == b"hello\n"
            except OSError:
                return False

        assert process.stderr is not None
        seen = ""
        while "open again" not in seen:
            line = process.stderr.readline()
            assert line, seen
            seen += line
        assert "connection lost" in seen
        until(answers_again, "the tunnel")
    finally:
        done = ended(process)
    assert (done.code, done.stderr) == (130, b"")


def test_a_tunnel_to_nothing_says_so(home: Household) -> None:
    done = home.simulates("tunnel", "1")
    assert (done.code, done.error["code"]) == (3, "not_found")
    assert home.simulates("tunnel", "http").code == 2


def test_a_port_that_is_taken_here_is_replaced_only_when_nobody_asked_for_it(
    home: Household, service: int
) -> None:
    taken = home.simulates("tunnel", f"{service}:{service}")
    assert (taken.code, taken.error["code"]) == (2, "usage")
    process = home.start("--sim", "--json", "tunnel", str(service))
    opened = json.loads(read_until(process, "open"))
    assert opened["remote"] == service
    assert opened["port"] != service
    assert ended(process, signal.SIGINT).code == 130
