"""What happens when something is killed: the truth is told, nothing runs twice, the queue lives."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.remote_scripts.worker.machine import LIMIT_S, Worker, events, kill, until


def test_an_engine_that_dies_ends_its_job_with_its_last_words(worker: Worker) -> None:
    final = worker.run("J1", do="die")[-1]
    assert final["code"] == "worker_died"
    assert "SIGKILL" in final["message"]
    assert "last words" in final["message"]


def test_the_job_after_a_dead_engine_gets_a_fresh_one(worker: Worker) -> None:
    first = worker.run("J1")[-1]["metrics"]["engine_pid"]
    worker.run("J2", do="die")
    assert worker.run("J3")[-1]["metrics"]["engine_pid"] != first
    assert worker.status()["daemon_pid"]


def test_an_idle_engine_that_was_killed_is_replaced(worker: Worker) -> None:
    kill(worker.run("J1")[-1]["metrics"]["engine_pid"])
    until(lambda: not worker.status()["engine_alive"])
    assert worker.run("J2")[-1]["event"] == "done"


def test_a_daemon_killed_mid_job_ends_the_job_and_its_engine(worker: Worker) -> None:
    follower = worker.submit("J1", do="wait_for_file", until="never")
    worker.until_stored("J1", "progress")
    status = worker.status()
    kill(status["daemon_pid"])
    assert events(follower)[-1]["code"] == "worker_died"
    assert worker.stored("J1")[-1]["code"] == "worker_died"
    until(lambda: status["engine_pid"] not in worker.processes())
    assert worker.runs() == ["J1"]


def test_jobs_that_waited_when_the_daemon_died_run_after_it(worker: Worker) -> None:
    followers = [worker.submit("J1", do="wait_for_file", until="never")]
    worker.until_stored("J1", "progress")
    followers += [worker.submit(name) for name in ("J2",)]
    worker.until_stored("J2", "accepted")
    kill(worker.status()["daemon_pid"])
    assert [events(follower)[-1]["event"] for follower in followers] == ["error", "done"]
    assert worker.runs() == ["J1", "J2"]


def test_a_job_interrupted_while_nobody_looked_is_told_of_at_the_next_attach(
    worker: Worker,
) -> None:
    follower = worker.submit("J1", do="wait_for_file", until="never")
    worker.until_stored("J1", "progress")
    kill(follower.pid)
    follower.communicate()
    kill(worker.status()["daemon_pid"])
    path = worker.workspace / "jobs/J1/events.ndjson"
    with path.open("a") as file:
        file.write('{"v":1,"seq":4,"ts":1.0,"ev')
    found = events(worker.start("attach", "J1"))
    assert [event["event"] for event in found] == ["accepted", "loading", "progress", "error"]
    assert found == worker.stored("J1")


def test_a_resubmit_of_an_interrupted_job_does_not_run_it_again(worker: Worker) -> None:
    follower = worker.submit("J1", do="wait_for_file", until="never")
    worker.until_stored("J1", "progress")
    kill(worker.status()["daemon_pid"])
    events(follower)
    assert worker.run("J1", do="wait_for_file", until="never")[-1]["code"] == "worker_died"
    assert worker.runs() == ["J1"]


def test_a_socket_that_a_dead_daemon_left_is_replaced(worker: Worker) -> None:
    worker.run("J1")
    kill(worker.status()["daemon_pid"])
    assert (worker.workspace / "run/toy.sock").exists()
    assert worker.run("J2")[-1]["event"] == "done"


def test_a_follower_that_sends_rubbish_harms_nobody(worker: Worker) -> None:
    worker.run("J1")
    for text in (b"{not json\n", b"[]\n", b'{"op":"attach"}\n', b""):
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(str(worker.workspace / "run/toy.sock"))
            link.sendall(text)
    assert worker.run("J2")[-1]["event"] == "done"


def test_what_libraries_print_cannot_disturb_the_events(worker: Worker) -> None:
    found = worker.run("J1", do="chatter")
    assert [event["event"] for event in found] == ["accepted", "loading", "done"]
    assert "from a child" in (worker.workspace / "run/toy.log").read_text()


def test_failures_keep_their_names_and_remedies(worker: Worker) -> None:
    wanted = {
        "refuse": ("gated", "the licence was not accepted"),
        "out_of_memory": ("oom", "OutOfMemoryError: CUDA out of memory"),
        "full_disk": ("disk_full", "the disk is full: [Errno 28] No space left on device"),
        "blow_up": ("failed", "ZeroDivisionError: it is zero"),
    }
    for act, (code, message) in wanted.items():
        final = worker.run(f"J-{act}", do=act)[-1]
        assert (final["code"], final["message"]) == (code, message)
    assert "blow_up" in worker.stored("J-blow_up")[-1]["traceback"]
    assert worker.stored("J-refuse")[-1]["remedy"] == "accept it on the model's page"
    assert list((worker.workspace / "jobs/J-full_disk/outputs").iterdir()) == []


def test_a_handler_may_yield_its_progress_and_return_its_metrics(worker: Worker) -> None:
    found = worker.run("J1", do="generate")
    assert [event["done"] for event in found if event["event"] == "progress"] == [1, 2]
    assert found[-1]["metrics"]["way"] == "generator"


def test_a_handler_that_cannot_be_imported_says_why(worker: Worker) -> None:
    (worker.scripts / "toy/handler.py").write_text("import nothing_of_that_name\n")
    final = worker.run("J1")[-1]
    assert (final["code"], final["event"]) == ("failed", "error")
    assert "nothing_of_that_name" in final["message"]


def test_secrets_reach_the_handler_and_never_the_disk_or_a_command_line(worker: Worker) -> None:
    secret = "hf_KeepThisToYourself"
    follower = worker.start(
        "submit", request={"id": "J1", "input": {"do": "tokens"}, "secrets": {"HF_TOKEN": secret}}
    )
    found = events(follower)
    assert found[-1]["metrics"]["length"] == len(secret)
    assert found[-1]["metrics"]["home"] == str(worker.workspace / ".cache")
    assert found[-2]["message"] == "the token is ***"
    files = [path for path in worker.workspace.rglob("*") if path.is_file()]
    assert [path for path in files if secret.encode() in path.read_bytes()] == []
    for pid in worker.processes():
        assert secret not in Path(f"/proc/{pid}/cmdline").read_text()
        assert secret not in Path(f"/proc/{pid}/environ").read_text()


def test_a_daemon_that_cannot_start_is_an_error_and_not_a_silence(worker: Worker) -> None:
    daemon = worker.scripts / "worker/daemon.py"
    daemon.write_text("raise SystemExit('no daemon today')\n")
    process = worker.submit("J1")
    (error,) = events(process)
    assert error["code"] == "worker_died"
    assert "no daemon today" in error["message"]
    assert process.wait(LIMIT_S) == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 200 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small file system can only be mounted by root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_fills_up_mid_job_ends_the_job_by_name_and_not_the_worker(
    worker: Worker, small_disk: Path
) -> None:
    cramped = Worker(worker.scripts, small_disk)
    try:
        final = cramped.run("J1", do="fill")[-1]
        assert final["code"] == "disk_full"
        assert cramped.run("J2")[-1]["code"] == "disk_full"
        assert events(cramped.start("attach", "J1"))[-1]["event"] == "error"
        (small_disk / "ballast").unlink()
        assert cramped.run("J3")[-1]["event"] == "done"
        assert cramped.stored("J3")[-1]["event"] == "done"
    finally:
        cramped.ask("stop")
        until(lambda: not cramped.processes())
