"""A machine's log, as typed: what was said, and what is being said, each line once."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gpuctl.sim import launcher
from tests.journeys.conftest import until
from tests.support.household import Household, ended, household


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Household]:
    with household(tmp_path_factory.mktemp("home")) as one:
        yield one


def entries(home: Household, *argv: str) -> list[dict[str, Any]]:
    done = home.simulates("logs", *argv)
    assert done.code == 0, done
    *lines, envelope = map(json.loads, done.stdout.splitlines())
    assert envelope["schema"] == "gpuctl/1"
    assert envelope["data"]["lines"] == len(lines)
    return lines


class Follower:
    """A `logs -f --json` whose lines are read as they come."""

    def __init__(self, home: Household, *argv: str) -> None:
        self.process = home.start("--sim", "--json", "logs", "-f", *argv)
        self.lines: list[dict[str, Any]] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(json.loads(line))

    def texts(self) -> list[str]:
        return [line["text"] for line in self.lines if "text" in line]

    def wait_for(self, text: str) -> None:
        until(lambda: any(text in line for line in self.texts()), text)

    def stop(self, number: signal.Signals | None = signal.SIGINT) -> tuple[int, str]:
        if number is not None:
            self.process.send_signal(number)
        code = self.process.wait(20)
        self._thread.join(5)
        assert self.process.stderr is not None
        said = self.process.stderr.read()
        self.process.communicate()
        return code, said


def test_what_was_said_is_shown_and_the_command_ends(home: Household) -> None:
    began = time.monotonic()
    lines = entries(home)
    assert time.monotonic() - began < 20
    assert {line["source"] for line in lines} == {"system", "container"}
    assert all(datetime.fromisoformat(line["ts"]).tzinfo for line in lines)
    assert home.types("--sim", "logs").stdout.count("\n") == len(lines)


def test_one_source_the_last_lines_and_a_time_can_be_asked_for(home: Household) -> None:
    every = entries(home)
    wanted = {
        ("--source", "system"): [line for line in every if line["source"] == "system"],
        ("--tail", "2"): every[-2:],
        ("--tail", "0"): [],
        ("--since", "1h"): every,
        ("--since", every[2]["ts"]): every[2:],
        ("--since", every[1]["ts"], "--tail", "1"): every[-1:],
        ("--since", "2999-01-01T00:00:00Z"): [],
    }
    with ThreadPoolExecutor(4) as pool:  # each waits until nothing more comes
        shown = pool.map(lambda argv: entries(home, *argv), wanted)
        assert dict(zip(wanted, shown, strict=True)) == wanted


@pytest.mark.parametrize(
    "argv",
    [("--source", "kernel"), ("--tail", "5001"), ("--since", "soon"), ("--since", "2026-01-01")],
    ids=" ".join,
)
def test_what_cannot_be_meant_is_refused(home: Household, argv: tuple[str, ...]) -> None:
    assert home.simulates("logs", *argv).code == 2


def test_a_host_has_no_log(home: Household) -> None:
    done = home.simulates("logs", "root@127.0.0.1:1")
    assert done.code == 2
    assert "journalctl" in done.error["hint"]


def test_ctrl_c_ends_following_with_the_envelope(home: Household) -> None:
    following = Follower(home)
    following.wait_for("sshd listens")
    code, said = following.stop()
    assert (code, said) == (130, "")
    assert following.lines[-1]["data"]["ended"] == "interrupted"
    process = home.start("--sim", "logs", "-f")
    assert process.stdout is not None
    assert "system" in process.stdout.readline()
    done = ended(process)
    assert (done.code, done.stderr) == (130, b"")


def test_following_goes_on_over_a_restart_of_the_service_and_repeats_nothing(
    home: Household,
) -> None:
    """Slow: the simulator is killed and started again."""
    following = Follower(home)
    following.wait_for("sshd listens")
    running = launcher.running(home.sim_folder)
    assert running is not None
    os.kill(running.pid, signal.SIGKILL)
    until(lambda: launcher.running(home.sim_folder) is None, "its end")
    assert home.simulates("status").code == 0
    marker = "connection dropped on purpose"
    home.fault("ssh-drop", "--value", "bytes:1")
    home.runs("--sim", "exec", "--", "echo", "x")
    following.wait_for(marker)
    code, said = following.stop()
    assert code == 130
    assert "reconnecting" in said
    texts = following.texts()
    keys = [(line["ts"], line["source"], line["text"]) for line in following.lines[:-1]]
    assert len(keys) == len(set(keys))
    assert texts == [line["text"] for line in entries(home)]


def test_following_a_machine_to_its_end_says_so(tmp_path: Path) -> None:
    """Slow: only silence makes it ask."""
    with household(tmp_path / "last") as home:
        following = Follower(home, "--source", "system")
        following.wait_for("start container")
        assert home.simulates("terminate", "flux", "--yes").code == 0
        code, said = following.stop(None)
        assert code == 0, said
        assert "is gone: its log ends here" in said
        assert following.lines[-1]["data"]["ended"] == "gone"


def test_the_terminal_is_safe_from_what_a_log_holds(home: Household) -> None:
    [pod] = (home.sim_folder / "pods").iterdir()
    running = launcher.running(home.sim_folder)
    assert running is not None
    launcher.stop(home.sim_folder)
    line = {
        "ts": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "source": "container",
        "line": "\x1b[31mred\x1b[0m \x1b]0;title\x07 bell\x07 back\x08 grüße",
    }
    with (pod / "log.ndjson").open("a") as log:
        log.write(json.dumps(line) + "\n")
    shown = home.types("--sim", "logs").stdout
    assert "red" in shown
    assert "grüße" in shown
    assert not set(shown) & set("\x1b\x07\x08")
