"""Waiting, cancelling, idling, retiring: the daemon's life around its jobs."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

import pytest

from tests.remote_scripts.worker.machine import (
    LIMIT_S,
    Worker,
    events,
    first_line,
    kill,
    ship,
    until,
)


def hurry(worker: Worker, module: str, old: str, new: str) -> None:
    """Shortens a time limit in the shipped scripts."""
    path = worker.scripts / "worker" / module
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_the_second_job_finds_the_engine_warm(worker: Worker) -> None:
    first, second = worker.run("J1"), worker.run("J2")
    assert first[-1]["metrics"]["engine_pid"] == second[-1]["metrics"]["engine_pid"]
    assert "loading" not in {event["event"] for event in second}
    assert worker.status()["model_loaded"] is True


def test_jobs_run_one_at_a_time_in_order_and_know_their_place(worker: Worker) -> None:
    followers = [worker.submit("J1", do="wait_for_file", until="go")]
    worker.until_stored("J1", "progress")
    for name in ("J2", "J3"):
        followers.append(worker.submit(name))
        worker.until_stored(name, "accepted")
    assert worker.status()["queue"] == ["J2", "J3"]
    worker.release("go")
    _, _, third = [events(follower) for follower in followers]
    assert worker.runs() == ["J1", "J2", "J3"]
    assert third[0]["position"] == 2
    places = [event["done"] for event in third if event.get("stage") == "queue"]
    assert places == [1, 0]


def test_a_waiting_job_is_cancelled_at_once_and_never_runs(worker: Worker) -> None:
    first = worker.submit("J1", do="wait_for_file", until="go")
    worker.until_stored("J1", "progress")
    second = worker.submit("J2")
    worker.until_stored("J2", "accepted")
    assert worker.ask("cancel", "J2") == {"cancelled": True}
    assert events(second)[-1]["code"] == "cancelled"
    worker.release("go")
    assert events(first)[-1]["event"] == "done"
    assert worker.runs() == ["J1"]
    assert {row["id"]: row["status"] for row in worker.ask("jobs")}["J2"] == "cancelled"


def test_a_running_job_is_cancelled_and_the_engine_stays_warm(worker: Worker) -> None:
    before = worker.run("J0")[-1]["metrics"]["engine_pid"]
    follower = worker.submit("J1", do="wait_for_file", until="never")
    worker.until_stored("J1", "progress")
    assert worker.ask("cancel", "J1") == {"cancelled": True}
    assert events(follower)[-1]["code"] == "cancelled"
    assert worker.run("J2")[-1]["metrics"]["engine_pid"] == before


def test_a_job_that_does_not_listen_is_killed_after_the_grace_time(worker: Worker) -> None:
    hurry(worker, "engine_runner.py", "CANCEL_GRACE_S = 10.0", "CANCEL_GRACE_S = 0.1")
    follower = worker.submit("J1", do="hang")
    worker.until_stored("J1", "progress")
    worker.ask("cancel", "J1")
    assert events(follower)[-1]["code"] == "cancelled"
    assert worker.run("J2")[-1]["event"] == "done"


def test_cancelling_what_is_over_or_unknown_says_false(worker: Worker) -> None:
    assert worker.ask("cancel", "J1") == {"cancelled": False}
    worker.run("J1")
    assert worker.ask("cancel", "J1") == {"cancelled": False}
    assert worker.ask("cancel", "never-seen") == {"cancelled": False}


def test_a_job_that_outlived_its_daemon_in_the_queue_can_still_be_cancelled(
    worker: Worker,
) -> None:
    followers = [worker.submit("J1", do="hang")]
    worker.until_stored("J1", "progress")
    followers.append(worker.submit("J2", do="wait_for_file", until="never"))
    worker.until_stored("J2", "accepted")
    for follower in followers:
        kill(follower.pid)
        follower.communicate()
    kill(worker.status()["daemon_pid"])
    assert worker.ask("cancel", "J2") == {"cancelled": True}
    assert worker.until_stored("J2", "error")["code"] == "cancelled"
    assert worker.stored("J1")[-1]["code"] == "worker_died"


def test_an_idle_worker_frees_the_gpu_and_goes(worker: Worker) -> None:
    worker.run("J1", "--idle-s", "0.2")
    until(lambda: not worker.processes(), "daemon and engine have gone")
    assert not (worker.workspace / "run/toy.sock").exists()
    assert worker.run("J2")[-1]["event"] == "done"


def test_a_worker_whose_workspace_was_deleted_frees_the_gpu(worker: Worker) -> None:
    hurry(worker, "daemon.py", "REACHABLE_POLL_S = 5.0", "REACHABLE_POLL_S = 0.05")
    worker.run("J1")
    shutil.rmtree(worker.workspace)
    until(lambda: not worker.processes(), "daemon and engine have gone")


def test_the_idle_clock_starts_after_the_last_job(worker: Worker) -> None:
    follower = worker.submit("J1", "--idle-s", "0.2", do="wait_for_file", until="go")
    worker.until_stored("J1", "progress")
    assert worker.status()["idle_s_left"] is None
    started = time.monotonic()
    until(lambda: time.monotonic() - started > 0.3)
    assert worker.status()["current"] == "J1"
    worker.release("go")
    assert events(follower)[-1]["event"] == "done"


def test_stop_ends_everything_and_says_so_to_those_who_wait(worker: Worker) -> None:
    running = worker.submit("J1", do="hang")
    worker.until_stored("J1", "progress")
    waiting = worker.submit("J2")
    worker.until_stored("J2", "accepted")
    assert worker.ask("stop") == {"stopped": True}
    assert [events(each)[-1]["code"] for each in (running, waiting)] == ["cancelled"] * 2
    until(lambda: not worker.processes())
    assert worker.ask("stop") == {"stopped": False}


def test_new_scripts_wait_for_the_old_ones_to_finish_and_then_take_over(
    worker: Worker, tmp_path: Path
) -> None:
    old = worker.submit("J1", do="wait_for_file", until="go")
    worker.until_stored("J1", "progress")
    queued = worker.submit("J2")
    worker.until_stored("J2", "accepted")
    updated = Worker(ship(tmp_path / "updated"), worker.workspace)
    new = updated.submit("J3")
    until(lambda: worker.status().get("retiring"))
    worker.release("go")
    assert [events(each)[-1]["event"] for each in (old, queued, new)] == ["done"] * 3
    assert worker.runs() == ["J1", "J2", "J3"]
    assert updated.status()["scripts"] == str(updated.scripts)


def test_new_scripts_replace_an_idle_worker_at_once(worker: Worker, tmp_path: Path) -> None:
    before = worker.run("J1")[-1]["metrics"]["engine_pid"]
    updated = Worker(ship(tmp_path / "updated"), worker.workspace)
    assert updated.run("J2")[-1]["event"] == "done"
    until(lambda: before not in worker.processes())
    assert events(updated.start("attach", "J1"))[-1]["event"] == "done"


def test_another_python_means_another_engine(worker: Worker, tmp_path: Path) -> None:
    before = worker.run("J1")[-1]["metrics"]["engine_pid"]
    other = tmp_path / "python-for-models"
    other.symlink_to(sys.executable)
    assert worker.run("J2", "--python", str(other))[-1]["metrics"]["engine_pid"] != before
    assert worker.status()["engine_python"] == str(other)


def test_a_python_that_is_not_there_is_an_error_of_that_job_only(worker: Worker) -> None:
    final = worker.run("J1", "--python", "/nowhere/python")[-1]
    assert final["event"] == "error"
    assert "/nowhere/python" in final["message"]
    assert worker.run("J2")[-1]["event"] == "done"


@pytest.mark.parametrize("verb", ["submit", "attach"])
def test_a_silent_job_gives_a_sign_of_life(worker: Worker, verb: str) -> None:
    hurry(worker, "follow.py", "HEARTBEAT_S = 10.0", "HEARTBEAT_S = 0.05")
    follower = worker.submit("J1", do="wait_for_file", until="go")
    worker.until_stored("J1", "progress")
    watched = follower if verb == "submit" else worker.start("attach", "J1", "--from", "2")
    assert first_line(watched)["event"] in ("accepted", "progress")
    assert watched.stdout
    until(lambda: watched.stdout and watched.stdout.readline() == "\n", "an empty line")
    worker.release("go")
    for process in {follower, watched}:
        process.communicate(timeout=LIMIT_S)
        assert process.returncode == 0


def test_an_event_reaches_the_follower_while_the_job_still_runs(worker: Worker) -> None:
    follower = worker.submit("J1", do="wait_for_file", until="go")
    assert follower.stdout
    kinds = [first_line(follower)["event"] for _ in range(3)]
    assert kinds == ["accepted", "loading", "progress"]
    worker.release("go")
    assert first_line(follower)["event"] == "done"
    follower.communicate(timeout=LIMIT_S)


def test_a_killed_follower_leaves_the_worker_able_to_idle_out(worker: Worker) -> None:
    follower = worker.submit("J1", "--idle-s", "0.1", do="wait_for_file", until="go")
    worker.until_stored("J1", "progress")
    kill(follower.pid)
    follower.communicate()
    worker.release("go")
    until(lambda: not worker.processes())
    assert worker.stored("J1")[-1]["event"] == "done"
