"""What a worker of a queue takes with a job: its claim, its files; each bad one by name."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path

import pytest

from worker import claims
from worker.layout import Layout
from worker.queue_front import Front
from worker.queue_inputs import delivery, put_files
from worker.report import Failure


def test_an_id_belongs_to_the_first_that_takes_it_also_when_that_comes_again(
    tmp_path: Path,
) -> None:
    assert claims.claim(tmp_path / "J", "first-u1") == "first-u1"
    assert claims.claim(tmp_path / "J", "second-u1") == "first-u1"
    assert claims.claim(tmp_path / "J", "first-u1") == "first-u1"  # its worker had died


def test_only_old_claims_without_results_are_forgotten(tmp_path: Path) -> None:
    jobs = tmp_path / "jobs"
    for name in ("old", "young", "full"):
        claims.claim(jobs / name, "q")
    (jobs / "full/outputs").mkdir()
    for name in ("old", "full"):
        os.utime(jobs / name / claims.FILE, (0, 0))
    claims.forget_old(jobs)
    assert sorted(path.name for path in jobs.iterdir()) == ["full", "young"]
    claims.forget_old(tmp_path / "nowhere")


def test_a_second_run_is_refused_and_names_the_first(tmp_path: Path) -> None:
    claims.claim(tmp_path / "jobs/01ME", "first-u1")
    job = {"id": "second-u1", "input": {"gpuctl": {"id": "01ME", "files": []}}}
    answer = Front(Layout(str(tmp_path)), job, lambda: False, lambda _job, _fields: None).run("toy")
    assert '"code": "duplicate"' in answer["error"]
    assert '"queue_id": "first-u1"' in answer["error"]


def test_a_job_of_any_other_client_is_taken_as_it_is() -> None:
    found = delivery({"id": "abc-u1", "input": {"text": "hello"}})
    assert (found.id, found.queue_id, found.input) == ("abc-u1", "abc-u1", {"text": "hello"})


@pytest.mark.parametrize(
    "job",
    [
        {"id": "../up", "input": {}},
        {"id": "a", "input": "text"},
        {"id": "a", "input": {"gpuctl": "x"}},
        {"id": "a", "input": {"gpuctl": {"id": "../up"}}},
        {"id": "a", "input": {"gpuctl": {"id": "ok", "files": ["x"]}}},
    ],
)
def test_a_malformed_delivery_is_bad_input(job: dict[str, object]) -> None:
    with pytest.raises(Failure) as refused:
        delivery(job)
    assert refused.value.code == "bad_input"


def test_files_are_confined_checked_and_never_half_there(tmp_path: Path) -> None:
    content = b"a voice"
    digest = hashlib.sha256(content).hexdigest()
    data = base64.b64encode(content).decode()
    good = {"path": "inputs/v.wav", "sha256": digest, "data": data}
    put_files(tmp_path, (good,))
    assert (tmp_path / "inputs/v.wav").read_bytes() == content
    put_files(tmp_path, ({"path": "inputs/v.wav", "sha256": digest},))  # it is there already
    for bad in (
        {**good, "path": "../v.wav"},
        {**good, "path": "/etc/v.wav"},
        {**good, "path": "inputs/w.wav", "sha256": "0" * 64},
        {**good, "path": "inputs/w.wav", "data": "%%%"},
        {"path": "inputs/w.wav", "sha256": digest, "url": "file:///etc/passwd"},
        {"path": "inputs/w.wav", "sha256": digest},
        {"path": "inputs/w.wav"},
    ):
        with pytest.raises(Failure) as refused:
            put_files(tmp_path, (bad,))
        assert refused.value.code == "bad_input"
    assert [path.name for path in (tmp_path / "inputs").iterdir()] == ["v.wav"]


def test_an_address_that_fails_is_not_repeated_in_the_message(tmp_path: Path) -> None:
    url = "http://127.0.0.1:9/bucket/key?X-Amz-Signature=secret"
    with pytest.raises(Failure) as refused:
        put_files(tmp_path, ({"path": "inputs/x", "sha256": "0" * 64, "url": url},))
    assert "secret" not in refused.value.message
    assert "127.0.0.1" in refused.value.message
