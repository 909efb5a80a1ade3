"""From nothing to a first machine: setup and doctor, as a person types them."""

from __future__ import annotations

import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gpuctl.services.ssh_identity import own_key
from gpuctl.sim import launcher
from tests.journeys.conftest import Person, until
from tests.support.accounts_stub import HF_TOKEN, RUNPOD_KEY, Accounts, accounts_stub


@pytest.fixture
def stub() -> Iterator[Accounts]:
    with accounts_stub() as found:
        yield found


@pytest.fixture
def at_stub(person: Person, stub: Accounts) -> Person:
    """Somebody whose accounts are all the stub's."""
    person.environ.update(stub.environ)
    return person


@pytest.fixture
def at_simulator(person: Person, stub: Accounts) -> Person:
    """Somebody whose RunPod is the simulator, reached as the cloud is: by address and key."""
    simulator = launcher.ensure(
        person.sim_folder, settings={"provisioning_s": "0.02", "starting_s": "0.02"}
    )
    person.environ.update(stub.environ)
    person.environ["GPUCTL_RUNPOD__API_URL"] = simulator.api_url
    person.environ["GPUCTL_RUNPOD__GRAPHQL_URL"] = "null"
    (person.home / "key.txt").write_text(simulator.api_key.reveal() + "\n")
    return person


def named(rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(row for row in rows if row["name"] == name)


def test_the_simulator_needs_no_key_and_leaves_no_file(person: Person) -> None:
    done = person.simulates("setup", "--register-key")
    assert done.data["next"] == 'gpuctl --sim flux "a red fox in snow"'
    assert named(done.data["steps"], "ssh-key-account")["status"] == "ok"
    assert done.envelope["changed"] is True
    assert list(person.folder.iterdir()) == []
    assert person.simulates("setup", "--register-key").envelope["changed"] is False
    checks = person.simulates("doctor").data["checks"]
    assert {check["status"] for check in checks} <= {"ok", "skipped"}
    assert named(checks, "offers")["status"] == "ok"


def test_setup_then_doctor_then_a_machine_of_ones_own(at_simulator: Person) -> None:
    person = at_simulator
    key = str(person.home / "key.txt")
    set_up = person.types("setup", "--no-input", "--runpod-key-file", key,
                          "--ssh-key", "~/.ssh/id_ed25519", "--register-key")  # fmt: skip
    assert set_up.code == 0, set_up.stderr + set_up.stdout
    assert set_up.stdout.splitlines()[-1] == "next: gpuctl deploy flux"
    assert stat.S_IMODE((person.folder / ".env").stat().st_mode) == 0o600
    assert Path(key).read_text().strip() not in set_up.stdout + set_up.stderr
    healthy = person.types("doctor")
    assert healthy.code == 0, healthy.stdout
    deployed = person.types("--json", "deploy", "flux")
    assert deployed.data["machine"]["status"] == "RUNNING"
    deep = person.types("--json", "doctor", "--deep")
    name = deployed.data["machine"]["name"]
    assert named(deep.data["checks"], name)["found"].startswith("ssh in ")
    assert person.types("terminate", name, "--yes").code == 0


def test_a_script_is_told_every_flag_it_lacks(at_stub: Person) -> None:
    done = at_stub.types("--json", "setup", "--no-input")
    assert done.code == 2
    assert done.error["details"]["flags"] == ["--runpod-key-file", "--ssh-key"]
    assert "--runpod-key-file" in done.error["hint"]


def test_secrets_come_from_stdin_and_files_never_from_the_command_line(at_stub: Person) -> None:
    (at_stub.folder / "hf").write_text(HF_TOKEN)
    done = at_stub.types("--json", "setup", "--runpod-key-file", "-", "--hf-token-file", "hf",
                         "--ssh-key", "k", typed=f"{RUNPOD_KEY}\n")  # fmt: skip
    assert done.data["written"] == ["RUNPOD_API_KEY", "HF_TOKEN", "SSH_KEY"]
    assert "SSH_KEY=~/project/k\n" in (at_stub.folder / ".env").read_text()
    assert RUNPOD_KEY not in done.stdout + done.stderr
    direct = at_stub.types("setup", "--no-input", "--runpod-key-file", RUNPOD_KEY)
    assert (direct.code, RUNPOD_KEY in direct.stderr) == (3, False)
    assert "not the secret itself" in direct.stderr
    twice = at_stub.types("setup", "--runpod-key-file", "-", "--hf-token-file", "-", typed="x\n")
    assert twice.code == 2


def test_yes_consents_to_what_costs_nothing(at_stub: Person, stub: Accounts) -> None:
    subprocess.run(["git", "init", "-q", str(at_stub.folder)], check=True)
    done = at_stub.types("--json", "--yes", "setup", "--runpod-key-file", "-", "--ssh-key", "~/k",
                         typed=f"{RUNPOD_KEY}\n")  # fmt: skip
    assert done.data["written"] == ["RUNPOD_API_KEY", "SSH_KEY"]
    assert (at_stub.folder / ".gitignore").read_text() == "/.env\n"
    assert len(stub.keys) == 2


def test_a_wrong_key_is_exit_4_and_is_not_written(at_stub: Person) -> None:
    done = at_stub.types("--json", "setup", "--runpod-key-file", "-", "--ssh-key", "k",
                         typed="rpa_wrong00000\n")  # fmt: skip
    assert (done.code, done.envelope["ok"]) == (4, False)
    assert named(done.envelope["data"]["steps"], "runpod")["found"] == (
        "RunPod refused the key: invalid API key"
    )
    assert "RUNPOD_API_KEY" not in (at_stub.folder / ".env").read_text()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"RUNPOD_PORT=many\n", ".env:1: runpod.port must be a whole number"),
        (b"GPUCTL_FLUX__GUIDENCE=3\n", "unknown key"),
        (b"\xff\xfe\x00", "cannot read"),
    ],
)
def test_doctor_goes_on_when_the_configuration_is_broken(
    at_stub: Person, content: bytes, said: str
) -> None:
    (at_stub.folder / ".env").write_bytes(content)
    done = at_stub.types("--json", "doctor")
    assert done.code == 8
    checks = done.envelope["data"]["checks"]
    assert named(checks, "config")["status"] == "fail"
    assert said in named(checks, "config")["found"]
    assert named(checks, "python")["status"] == "ok"
    assert named(checks, "disk")["status"] == "ok"


def test_doctor_mends_what_is_safe_and_says_what_it_did(at_stub: Person, stub: Accounts) -> None:
    own_key(at_stub.home / ".ssh/id_ed25519").chmod(0o644)
    env = at_stub.folder / ".env"
    env.write_text(f"RUNPOD_API_KEY={RUNPOD_KEY}\n")
    env.chmod(0o644)
    before = at_stub.types("--json", "doctor")
    assert before.code == 8
    assert named(before.envelope["data"]["checks"], "ssh-key")["remedy"].startswith("chmod 600")
    at_stub.types("--dry-run", "doctor", "--fix")
    assert stat.S_IMODE(env.stat().st_mode) == 0o644
    fixed = at_stub.types("--json", "doctor", "--fix")
    assert fixed.envelope["changed"] is True
    assert stat.S_IMODE(env.stat().st_mode) == 0o600
    after = at_stub.types("doctor")
    assert "fixed:" not in after.stdout
    # What is left is the stub's: it describes no API.
    assert [line for line in after.stdout.splitlines() if line.startswith("✗")] == []
    assert after.code == 0


def test_doctor_without_a_network_names_what_it_could_not_reach(person: Person) -> None:
    person.environ |= Accounts(9).environ | {"RUNPOD_API_KEY": RUNPOD_KEY, "HF_TOKEN": HF_TOKEN}
    done = person.types("--json", "doctor")
    assert done.code == 8
    checks = done.envelope["data"]["checks"]
    assert "cannot be reached" in named(checks, "runpod-api")["found"]
    assert named(checks, "huggingface")["status"] == "warn"
    assert named(checks, "ssh")["status"] == "ok"
    assert RUNPOD_KEY not in done.stdout + done.stderr


def test_ctrl_c_ends_a_doctor_that_waits_for_a_service(at_stub: Person, stub: Accounts) -> None:
    pod = {"id": "p1", "name": "x", "status": "RUNNING", "ports": ["8188/http"]}
    stub.pods = [pod]
    stub.hanging = {"GET /v2/catalog", "GET /v2/account", "POST /graphql"}
    at_stub.environ["RUNPOD_API_KEY"] = RUNPOD_KEY
    process = at_stub.start("doctor")
    until(lambda: stub.asked("GET /v2/catalog"), "the question that hangs")
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert time.monotonic() - began < 5


# at a real terminal


class Terminal:
    """A tmux of the test's own: what is typed, and what stands on the screen."""

    def __init__(self, person: Person) -> None:
        self._socket = str(person.home / "tmux")
        self._person = person
        self._environ = {**person.environ, "TERM": "xterm-256color"}

    def _tmux(self, *argv: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", self._socket, "-f", "/dev/null", *argv],
            env=self._environ,
            cwd=self._person.folder,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    def opens(self, command: str) -> None:
        self._tmux("new-session", "-d", "-x", "110", "-y", "60", command)

    def screen(self) -> str:
        return self._tmux("capture-pane", "-p", "-S", "-200")

    def shows(self, text: str) -> None:
        until(lambda: text in self.screen(), f"{text!r} on the screen")

    def types(self, text: str) -> None:
        self._tmux("send-keys", "-l", text)
        self._tmux("send-keys", "Enter")

    def close(self) -> None:
        subprocess.run(["tmux", "-S", self._socket, "kill-server"], capture_output=True)


@pytest.fixture
def terminal(at_stub: Person) -> Iterator[Terminal]:
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    one = Terminal(at_stub)
    try:
        yield one
    finally:
        one.close()


def test_the_wizard_at_a_terminal(terminal: Terminal, at_stub: Person, stub: Accounts) -> None:
    subprocess.run(["git", "init", "-q", str(at_stub.folder)], check=True)
    own_key(at_stub.home / ".ssh/work")
    terminal.opens(f"{sys.executable} -m gpuctl setup; echo code=$?; cat")
    terminal.shows("RunPod API key:")
    terminal.types("rpa_wrong00000")
    terminal.shows("refused the key")
    until(lambda: terminal.screen().count("RunPod API key:") == 2, "the question again")
    terminal.types(RUNPOD_KEY)
    for question in ("Hugging Face token (Enter leaves it out):", "Anthropic API key (Enter",
                     "Docker Hub user (Enter", "AWS access key id (Enter"):  # fmt: skip
        terminal.shows(question)
        terminal.types("")
    terminal.shows("make a new one: ~/.ssh/id_ed25519")
    terminal.types("7")
    until(lambda: terminal.screen().count("1–2 [1]:") == 2, "the question again")
    terminal.types("2")
    terminal.shows("register the public key with your RunPod account")
    terminal.types("y")
    terminal.shows("add .env to .gitignore?")
    terminal.types("y")
    terminal.shows("code=0")
    screen = terminal.screen()
    assert "next: gpuctl deploy flux" in screen
    assert RUNPOD_KEY not in screen
    assert "rpa_wrong" not in screen
    assert (at_stub.folder / ".env").read_text() == f"RUNPOD_API_KEY={RUNPOD_KEY}\n"
    assert (at_stub.folder / ".gitignore").read_text() == "/.env\n"
    assert stub.keys[-1] == (at_stub.home / ".ssh/id_ed25519.pub").read_text().strip()


def test_a_secret_is_not_read_where_everybody_sees_it(terminal: Terminal) -> None:
    terminal.opens(f"{sys.executable} -m gpuctl setup --runpod-key-file -; echo code=$?; cat")
    terminal.shows("would be seen")
    terminal.shows("code=2")


def test_ctrl_c_in_the_wizard_leaves_nothing(terminal: Terminal, at_stub: Person) -> None:
    terminal.opens(f"{sys.executable} -m gpuctl setup; echo code=$?; cat")
    terminal.shows("RunPod API key:")
    terminal._tmux("send-keys", "C-c")
    terminal.shows("code=130")
    assert not (at_stub.folder / ".env").exists()
