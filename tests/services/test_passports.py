"""A passport proves one digest, for a while, and only as it was written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gpuctl.errors import GpuctlError, NotFound, UsageError, ValidationFailed
from gpuctl.models import Json, Machine, MachineRequest, Need
from gpuctl.services import passports
from gpuctl.services.ec2_orders import Asked
from gpuctl.services.passports import Shelf
from gpuctl.services.validation import Result
from gpuctl.services.validation_checks import Evidence
from gpuctl.services.validation_orders import Order
from gpuctl.services.validation_phases import Phases
from gpuctl.state import State
from tests.support.clock import JumpingClock
from tests.support.recorder import Recorder

DIGEST = "sha256:" + "a" * 64
NOW = 1_795_000_000.0
DAY_S = 86400.0
HEARD = {"heard": "hello", "expected": "hello", "word_error": 0.0}


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return passports.shelf(tmp_path, State(tmp_path / "state.db"))


def order(workload: str = "whisper") -> Order:
    need = Need(image="me/whisper:1", vram_gb=8, disk_gb=60, volume_gb=0)
    request = MachineRequest(name=f"gpuctl-{workload}", workload=workload, need=need)
    return Order(request, "slim", Asked(), DIGEST, env={}, section={})


def result(*, is_ok: bool = True, digest: str = DIGEST, gpu: str = "Tesla T4") -> Result:
    phases = Phases(JumpingClock(NOW), Recorder(), lambda: 0.0123)
    with phases.phase("launch") as phase:
        phase.detail = "T4, us-east-1a"
    return Result(
        phases=phases,
        evidence=[
            Evidence("health", True, "200 ok", 0.1, {"status": "ok"}),
            Evidence("transcription", is_ok, "“hello”", 1.5, HEARD),
        ],
        machine=Machine(id="i-1", name="gpuctl-whisper-1", provider="ec2", status="RUNNING"),
        kind="g4dn.xlarge",
        digest=digest,
        driver="570.86",
        gpu=gpu,
        host_key="console",
        usd=0.0123,
        error=None if is_ok else GpuctlError("transcription: wrong words"),
    )


def written(shelf: Shelf, *, now: float = NOW, **changes: bool) -> Json:
    return passports.write(shelf, order(), result(**changes), now=now, is_simulated=False)


def required(shelf: Shelf, *, now: float = NOW, digest: str = DIGEST) -> Json:
    return passports.required(shelf, "whisper", digest, now=now, max_age_s=7 * DAY_S)


def change(shelf: Shelf, **values: object) -> None:
    """Edits the file, as somebody would who wants another verdict."""
    path = shelf.path(DIGEST)
    document = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**document, **values}), encoding="utf-8")


def test_a_passport_holds_the_proof_and_what_it_could_not_cover(shelf: Shelf) -> None:
    document = written(shelf)
    assert passports.read(shelf, DIGEST) == document
    assert document["digest"] == DIGEST
    assert [check["name"] for check in document["checks"]] == ["health", "transcription"]
    assert document["checks"][0]["body"] == {"status": "ok"}
    assert document["transcript"] == HEARD
    assert document["machine"]["type"] == "g4dn.xlarge"
    assert document["phases"][0]["usd"] == 0.0123
    uncovered = " ".join(document["not_covered"])
    assert "bf16" in uncovered
    assert "FlashAttention-2" in uncovered
    assert "canary on the target is required" in uncovered


def test_a_newer_card_is_not_said_to_lack_what_it_has() -> None:
    assert "bf16" not in " ".join(passports.not_covered("NVIDIA L4"))


def test_a_fresh_passport_of_the_same_digest_lets_a_deploy_pass(shelf: Shelf) -> None:
    written(shelf)
    assert required(shelf)["digest"] == DIGEST
    assert required(shelf, now=NOW + 6.9 * DAY_S)


@pytest.mark.parametrize("digest", ["sha256:" + "b" * 64])
def test_another_digest_has_no_passport(shelf: Shelf, digest: str) -> None:
    written(shelf)
    with pytest.raises(ValidationFailed, match="no passport") as caught:
        required(shelf, digest=digest)
    assert caught.value.exit_code == 8
    assert "gpuctl ec2 validate whisper" in str(caught.value.hint)
    assert "--no-gate" in str(caught.value.hint)


def test_an_old_passport_counts_no_more(shelf: Shelf) -> None:
    written(shelf)
    with pytest.raises(ValidationFailed, match="7d 2h old, and counts for 7d"):
        required(shelf, now=NOW + 7 * DAY_S + 7200)


def test_a_rehearsal_that_fails_takes_an_older_proof_back(shelf: Shelf) -> None:
    written(shelf)
    written(shelf, now=NOW + 60, is_ok=False)
    with pytest.raises(ValidationFailed, match="its last rehearsal failed"):
        required(shelf, now=NOW + 120)


def test_a_verdict_that_was_edited_is_noticed(shelf: Shelf) -> None:
    written(shelf, is_ok=False)
    change(shelf, passed=True)
    with pytest.raises(ValidationFailed, match="changed after it was made"):
        required(shelf)


def test_one_that_was_edited_with_its_hash_is_noticed_too(shelf: Shelf) -> None:
    document = written(shelf, is_ok=False)
    forged = passports.signed({**document, "passed": True})
    change(shelf, **forged)
    with pytest.raises(ValidationFailed, match="not the one that was made here"):
        required(shelf)


def test_a_passport_from_another_computer_counts_while_it_is_intact(
    shelf: Shelf, tmp_path: Path
) -> None:
    written(shelf)
    elsewhere = replace(shelf, state=State(tmp_path / "other.db"))
    document = required(elsewhere)
    assert not passports.is_from_here(elsewhere, document)
    change(shelf, digest=DIGEST, usd=0)
    with pytest.raises(ValidationFailed):
        required(elsewhere)


def test_one_that_was_moved_to_another_digest_is_refused(shelf: Shelf) -> None:
    written(shelf)
    other = "sha256:" + "c" * 64
    shelf.path(DIGEST).rename(shelf.path(other))
    with pytest.raises(ValidationFailed, match="it is for whisper"):
        required(shelf, digest=other)


@pytest.mark.parametrize("text", [DIGEST, "sha256:aaaa", "aaaa", "whisper", "me/whisper:1"])
def test_passports_are_found_by_what_people_know_of_them(shelf: Shelf, text: str) -> None:
    written(shelf)
    assert passports.find(shelf, text)["digest"] == DIGEST


def test_a_beginning_that_fits_several_is_not_guessed(shelf: Shelf) -> None:
    written(shelf)
    other = "sha256:a" + "b" * 63
    passports.write(shelf, order(), result(digest=other), now=NOW + 5, is_simulated=False)
    with pytest.raises(UsageError, match="several"):
        passports.find(shelf, "sha256:a")
    assert passports.find(shelf, "whisper")["digest"] == other, "a workload means its newest"
    with pytest.raises(NotFound):
        passports.find(shelf, "ffff")


def test_a_file_that_is_no_passport_hides_none_of_the_others(shelf: Shelf) -> None:
    written(shelf)
    shelf.path("sha256:" + "d" * 64).write_text("{", encoding="utf-8")
    assert passports.all_of(shelf)[0]["digest"] == DIGEST
    assert passports.fault(shelf, passports.all_of(shelf)[1]) is not None
