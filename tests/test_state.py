"""The state file: what it promises to every other room."""

from __future__ import annotations

import multiprocessing
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from gpuctl.errors import ConfigError, NotFound, UsageError
from gpuctl.models import Address, Artifact, JobRecord, Machine, Pin
from gpuctl.state import State

MACHINE = Machine(
    id="abc123",
    name="gpuctl-flux-1",
    provider="runpod",
    status="RUNNING",
    address=Address("203.0.113.7", 17740),
    workload="flux",
    price_usd_h=0.69,
)
JOB = JobRecord(
    id="01KAHXJ8000000000000000001",
    workload="flux",
    machine_id="abc123",
    target="abc123",
    status="done",
    created_at=100.0,
    input={"prompt": "a “fox”\n🦊"},
    artifacts=(Artifact("/w/a.png", 3, "ff", "image/png"),),
    files=("a.png",),
)


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path / "gpuctl" / "state.sqlite3")


def test_reading_makes_no_file(state: State) -> None:
    assert state.machines() == []
    assert state.machine("abc123") is None
    assert state.jobs() == []
    assert state.unresolved() == []
    assert state.remote_facts("abc123") == {}
    assert not state.path.parent.exists()


def test_the_file_is_readable_by_its_owner_alone(state: State) -> None:
    state.remember(MACHINE)
    assert stat.S_IMODE(state.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(state.path.parent.stat().st_mode) == 0o700


def test_a_machine_comes_back_as_it_was_by_id_and_by_name(state: State) -> None:
    state.remember(MACHINE)
    assert state.machine("abc123") == MACHINE
    assert state.machine("gpuctl-flux-1") == MACHINE


def test_machines_are_listed_per_workload_the_last_seen_first(state: State) -> None:
    other = replace(MACHINE, id="zzz", name="gpuctl-tts-1", workload="tts")
    state.remember(MACHINE)
    state.remember(other)
    assert [machine.id for machine in state.machines()] == ["zzz", "abc123"]
    assert state.machines("flux") == [MACHINE]


def test_forgetting_a_machine_forgets_its_key_and_facts(state: State) -> None:
    state.remember(MACHINE)
    state.pin(Pin("abc123", "ssh-ed25519 AAAA", "203.0.113.7:17740", "2026-11-21T10:00:00Z"))
    state.set_remote_facts("abc123", {"workspace": "/workspace"})
    state.forget("abc123")
    assert state.machine("abc123") is None
    assert state.pinned("abc123") is None
    assert state.remote_facts("abc123") == {}


def test_a_pin_is_replaced_not_added(state: State) -> None:
    state.pin(Pin("abc123", "ssh-ed25519 AAAA", "203.0.113.7:1", None))
    state.pin(Pin("abc123", "ssh-ed25519 BBBB", "203.0.113.7:2", "t"))
    assert state.pinned("abc123") == Pin("abc123", "ssh-ed25519 BBBB", "203.0.113.7:2", "t")


def test_a_job_comes_back_as_it_was(state: State) -> None:
    state.save_job(replace(JOB, status="running"))
    state.save_job(JOB)
    assert state.job(JOB.id) == JOB


def test_a_job_is_found_by_the_beginning_of_its_id_in_either_case(state: State) -> None:
    state.save_job(JOB)
    assert state.job("01kahxj8").id == JOB.id


def test_a_beginning_shared_by_two_jobs_is_refused_with_both_ids(state: State) -> None:
    second = replace(JOB, id="01KAHXJ8000000000000000002", created_at=200.0)
    state.save_job(JOB)
    state.save_job(second)
    with pytest.raises(UsageError) as caught:
        state.job("01KAHXJ8")
    assert JOB.id in caught.value.message
    assert second.id in caught.value.message


@pytest.mark.parametrize("wanted", ["nothing", "", "%", "_"])
def test_an_unknown_job_is_not_found_and_says_where_to_look(state: State, wanted: str) -> None:
    state.save_job(JOB)
    with pytest.raises(NotFound) as caught:
        state.job(wanted)
    assert caught.value.hint == "gpuctl jobs list"


def test_jobs_are_listed_newest_first_per_workload_and_limited(state: State) -> None:
    for age in range(5):
        state.save_job(replace(JOB, id=f"J{age}", created_at=float(age)))
    state.save_job(replace(JOB, id="T", workload="tts", created_at=9.0))
    assert [job.id for job in state.jobs(limit=2)] == ["T", "J4"]
    assert [job.id for job in state.jobs(limit=2, workload="flux")] == ["J4", "J3"]


def test_an_intent_stays_unresolved_until_its_outcome_is_known(state: State) -> None:
    state.intend("gpuctl-flux-1", "runpod", "flux", {"gpu": "NVIDIA L4"})
    state.intend("gpuctl-flux-2", "runpod", "flux", {})
    state.resolve("gpuctl-flux-1", "created", "abc123")
    state.resolve("gpuctl-flux-1", "terminated")
    assert [intent.name for intent in state.unresolved()] == ["gpuctl-flux-2"]
    by_name = {intent.name: intent for intent in state.journal()}
    assert by_name["gpuctl-flux-1"].outcome == "terminated"
    assert by_name["gpuctl-flux-1"].machine_id == "abc123"
    assert by_name["gpuctl-flux-1"].detail == {"gpu": "NVIDIA L4"}


def test_a_name_is_never_used_twice(state: State) -> None:
    state.intend("gpuctl-flux-1", "runpod", "flux", {})
    with pytest.raises(UsageError, match="gpuctl-flux-1"):
        state.intend("gpuctl-flux-1", "runpod", "flux", {})


def test_a_damaged_file_is_named_with_a_remedy(state: State) -> None:
    state.path.parent.mkdir()
    state.path.write_bytes(b"this is not a database at all, " * 200)
    with pytest.raises(ConfigError) as caught:
        state.machines()
    assert str(state.path) in caught.value.message
    assert "gpuctl status" in (caught.value.hint or "")


def test_a_damaged_record_is_named_with_a_remedy(state: State) -> None:
    import sqlite3
    from contextlib import closing

    state.remember(MACHINE)
    with closing(sqlite3.connect(state.path)) as connection, connection:
        connection.execute("UPDATE machines SET record = '{\"id\": 1'")
    with pytest.raises(ConfigError, match="cannot be used"):
        state.machines()


def test_a_file_of_a_newer_version_is_left_alone(state: State) -> None:
    import sqlite3
    from contextlib import closing

    state.remember(MACHINE)
    with closing(sqlite3.connect(state.path)) as connection, connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(ConfigError, match="newer gpuctl"):
        state.remember(MACHINE)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    state = State(tmp_path / "file" / "state.sqlite3")
    with pytest.raises(ConfigError, match=r"state\.sqlite3 cannot be used"):
        state.remember(MACHINE)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to read-only files")
def test_a_read_only_file_is_named(state: State) -> None:
    state.remember(MACHINE)
    state.path.chmod(0o400)
    with pytest.raises(ConfigError, match="cannot be used"):
        state.remember(MACHINE)


def _write_many(path: Path, prefix: str) -> None:
    state = State(path)
    for number in range(20):
        state.intend(f"{prefix}-{number}", "runpod", "flux", {})
        state.remember(replace(MACHINE, id=f"{prefix}-{number}"))


def test_processes_that_write_at_once_lose_nothing(state: State) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(state.path, name)) for name in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    assert len(state.unresolved()) == 60
    assert len(state.machines()) == 60


def test_a_file_of_the_first_version_is_brought_up_with_all_that_it_holds(state: State) -> None:
    import sqlite3
    from contextlib import closing

    state.remember(MACHINE)
    with closing(sqlite3.connect(state.path)) as connection, connection:
        connection.execute("DROP TABLE documents")
        connection.execute("PRAGMA user_version = 1")
    state.keep("voice", "me", {"sha256": "ab"})
    assert state.kept("voice", "me") == {"sha256": "ab"}
    assert state.machines() == [MACHINE]


def test_a_document_is_kept_by_kind_and_key_until_it_is_dropped(state: State) -> None:
    assert state.kept("voice", "me") is None
    state.keep("voice", "me", {"n": 1})
    state.keep("image", "me", {"n": 2})
    state.keep("voice", "you", {"n": 3})
    state.keep("voice", "me", {"n": 4})
    assert state.all_kept("voice") == [{"n": 4}, {"n": 3}]
    assert state.drop("voice", "me")
    assert not state.drop("voice", "me")
    assert state.all_kept("voice") == [{"n": 3}]
    assert state.kept("image", "me") == {"n": 2}
