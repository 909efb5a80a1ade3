"""What submit and attach promise: each job once, each event once, any text unharmed."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from tests.remote_scripts.worker.machine import LIMIT_S, Worker, events, first_line, kill, until


def test_a_job_runs_and_its_artifact_is_announced_with_its_hash(worker: Worker) -> None:
    found = worker.run("J1", prompt="a red fox", seed=7)
    kinds = [event["event"] for event in found]
    assert kinds == ["accepted", "loading", "progress", "progress", "artifact", "done"]
    made = found[4]
    assert made["path"] == str(worker.workspace / "jobs/J1/outputs/said.txt")
    assert made["sha256"] == hashlib.sha256(b"a red fox").hexdigest()
    assert (made["bytes"], made["media_type"], made["seed"]) == (9, "text/plain", 7)
    assert Path(made["path"]).read_text() == "a red fox"
    assert found[0]["position"] == 0
    assert found[-1]["metrics"]["engine_pid"] == worker.status()["engine_pid"]


def test_what_submit_prints_is_the_event_file_line_by_line(worker: Worker) -> None:
    out, _ = worker.submit("J1").communicate(timeout=LIMIT_S)
    assert out == (worker.workspace / "jobs/J1/events.ndjson").read_text()


@pytest.mark.parametrize(
    "prompt",
    [
        'it\'s "quoted" `twice` $(touch hacked) ; rm -rf / \\ %s',
        "line one\nline two\r\n\ttabbed\u2028separated",
        "🦊 in 雪 – ñandú \x00\x1b[31m",
        "x" * 3_000_000,
    ],
    ids=["quotes", "newlines", "emoji and control characters", "three megabytes"],
)
def test_any_text_reaches_the_handler_as_it_was_typed(worker: Worker, prompt: str) -> None:
    assert worker.run("J1", prompt=prompt)[-1]["event"] == "done"
    assert (worker.workspace / "jobs/J1/outputs/said.txt").read_bytes() == prompt.encode()


def test_two_submits_of_one_id_at_once_run_it_once_and_both_see_all(worker: Worker) -> None:
    followers = [worker.submit("J1", prompt="once") for _ in range(4)]
    first, *others = [events(follower) for follower in followers]
    assert all(other == first for other in others)
    assert worker.runs() == ["J1"]


def test_a_submit_of_a_running_id_attaches(worker: Worker) -> None:
    first = worker.submit("J1", do="wait_for_file", until="go")
    worker.until_stored("J1", "progress")
    second = worker.submit("J1", do="wait_for_file", until="go")
    assert first_line(second)["event"] == "accepted"
    worker.release("go")
    assert events(first)[-1]["event"] == "done"
    second.communicate(timeout=LIMIT_S)
    assert worker.runs() == ["J1"]


def test_a_finished_id_is_replayed_even_without_a_daemon(worker: Worker) -> None:
    before = worker.run("J1")
    worker.ask("stop")
    assert worker.run("J1") == before
    assert worker.runs() == ["J1"]
    assert worker.status()["daemon_pid"] is None


def test_attach_replays_what_came_after_a_number_and_then_follows(worker: Worker) -> None:
    submitted = worker.submit("J1", do="wait_for_file", until="go")
    worker.until_stored("J1", "progress")
    attached = worker.start("attach", "J1", "--from", "2")
    assert first_line(attached)["seq"] == 3
    worker.release("go")
    everything = events(submitted)
    rest = events(worker.start("attach", "J1", "--from", "2"))
    assert rest == everything[2:]
    attached.communicate(timeout=LIMIT_S)


def test_attach_to_an_unknown_job_exits_3_and_starts_nothing(worker: Worker) -> None:
    process = worker.start("attach", "nope")
    (line,) = process.communicate(timeout=LIMIT_S)[0].splitlines()
    assert json.loads(line)["code"] == "not_found"
    assert process.returncode == 3
    assert worker.processes() == []


def test_a_client_killed_mid_job_loses_no_event(worker: Worker) -> None:
    follower = worker.submit("J1", do="wait_for_file", until="go")
    worker.until_stored("J1", "progress")
    kill(follower.pid)
    follower.communicate()
    worker.release("go")
    assert [event["event"] for event in events(worker.start("attach", "J1"))] == [
        "accepted",
        "loading",
        "progress",
        "done",
    ]
    assert worker.runs() == ["J1"]


def test_a_follower_without_a_reader_ends_and_the_job_goes_on(worker: Worker) -> None:
    follower = worker.submit("J1", do="wait_for_file", until="go")
    assert follower.stdout
    worker.until_stored("J1", "progress")
    follower.stdout.close()
    worker.release("go")
    assert follower.wait(LIMIT_S) == 0
    worker.until_stored("J1", "done")
    assert follower.stdin
    follower.stdin.close()


@pytest.mark.parametrize(
    ("request_text", "message"),
    [
        ("{not json", "not JSON"),
        ("", "not JSON"),
        ("[1]", "not a JSON object"),
        ('{"id":"../x","input":{}}', "`id` must be"),
        ('{"id":"","input":{}}', "`id` must be"),
        ('{"id":"' + "a" * 65 + '","input":{}}', "`id` must be"),
        ('{"id":"J1"}', "`input` must be"),
        ('{"id":"J1","input":{},"secrets":{"A":1}}', "`secrets` must be"),
    ],
)
def test_a_request_that_is_wrong_is_refused_before_anything_starts(
    worker: Worker, request_text: str, message: str
) -> None:
    (error,) = events(worker.start("submit", request=request_text))
    assert error["code"] == "bad_input"
    assert message in error["message"]
    assert list(worker.workspace.iterdir()) == [worker.workspace / ".gpuctl"]
    assert worker.processes() == []


def test_an_id_of_another_workload_is_refused(worker: Worker) -> None:
    worker.run("J1")
    request = worker.workspace / "jobs/J1/request.json"
    request.write_text(json.dumps({**json.loads(request.read_text()), "workload": "tts"}))
    assert worker.run("J1")[0]["code"] == "bad_input"


@pytest.mark.parametrize("argv", [[], ["J1", "--idle-s", "soon"], ["--colour", "red"], ["--from"]])
def test_a_wrong_command_line_exits_2_with_the_usage(worker: Worker, argv: list[str]) -> None:
    process = (
        worker.start("attach", *argv)
        if "--idle-s" not in argv
        else worker.start("submit", *argv[1:])
    )
    process.communicate(timeout=LIMIT_S)
    assert process.returncode == 2


def test_a_full_disk_refuses_the_job_by_name(worker: Worker) -> None:
    worker.run("J0")
    worker.env["GPUCTL_SIM_DISK_FULL"] = "1"
    (error,) = worker.run("J1")
    assert (error["code"], error["event"]) == ("disk_full", "error")
    del worker.env["GPUCTL_SIM_DISK_FULL"]
    assert worker.run("J1")[-1]["event"] == "done"


def test_a_workspace_deeper_than_a_socket_name_may_be_long_works(
    worker: Worker, tmp_path: Path
) -> None:
    deep = tmp_path.joinpath(*["a-rather-long-folder-name"] * 6)
    deep.mkdir(parents=True)
    elsewhere = Worker(worker.scripts, deep)
    try:
        assert elsewhere.run("J1")[-1]["event"] == "done"
    finally:
        elsewhere.ask("stop")
    until(lambda: not elsewhere.processes())


def test_jobs_lists_each_with_status_and_artifacts(worker: Worker) -> None:
    worker.run("J1")
    worker.run("J2", do="refuse")
    rows = {row["id"]: row for row in worker.ask("jobs")}
    assert {name: row["status"] for name, row in rows.items()} == {"J1": "done", "J2": "failed"}
    assert [made["name"] for made in rows["J1"]["artifacts"]] == ["said.txt"]


def test_selfcheck_names_the_workloads_and_changes_nothing(worker: Worker) -> None:
    run = [str(worker.scripts / "run.py"), "selfcheck"]
    out = subprocess.run(["python3", *run], env=worker.env, capture_output=True, check=True).stdout
    assert json.loads(out)["workloads"] == ["toy"]
    assert not (worker.workspace / "run").exists()
