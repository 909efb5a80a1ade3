"""An operator's day with a serverless endpoint, in the simulator, command by command."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gpuctl.sim import launcher, processes
from tests.journeys.conftest import Person, until

SMALL = ("--size", "64x64", "--fast")


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """One operator for all of these: a simulator and a warm worker are dear."""
    one = Person(tmp_path_factory.mktemp("operator"))
    one.folder.mkdir()
    try:
        yield one
    finally:
        launcher.reset(one.sim_folder)
        left = processes.with_marker(launcher.FOLDER_MARKER, str(one.sim_folder.resolve()))
        assert left == [], f"worker processes were left behind: {left}"


@pytest.fixture(scope="module")
def served(person: Person) -> str:
    """The id of an endpoint for flux; its worker stays warm."""
    made = person.simulates("deploy", "flux", "--serverless").data["endpoint"]["id"]
    person.simulates("endpoint", "update", made, "--idle-timeout", "10m", "--max-workers", "1")
    return str(made)


def test_a_picture_over_the_queue_has_a_receipt_a_record_and_a_price(
    person: Person, served: str
) -> None:
    data = person.simulates("flux", "a fox", "--on", served, "--seed", "7", *SMALL).data
    assert Path(data["file"]).name == "a-fox-7.png"
    assert data["receipt"]["machine"]["id"] == served
    assert data["cost_usd"] > 0
    assert person.simulates("jobs", "list").data["jobs"][0]["status"] == "fetched"
    again = person.simulates("replay", data["file"], "--on", served).data
    assert Path(again["file"]).read_bytes()[:4] == b"\x89PNG"
    # What the worker was told beside the job is in no receipt.
    assert "gpuctl" not in json.loads(Path(f"{data['file']}.json").read_text())["parameters"]


def test_a_job_that_nobody_watched_is_attached_fetched_and_another_cancelled(
    person: Person, served: str
) -> None:
    sent = person.simulates("flux", "a lighthouse", "--on", served, "--detach", *SMALL)
    job = sent.data["job"]
    until(
        lambda: person.simulates("jobs", "fetch", job, "--out", "here/").code == 0,
        "the detached job's end",
    )
    assert list((person.folder / "here").glob("*.png"))
    attached = person.simulates("jobs", "attach", job).data
    assert attached["job"] == job

    person.simulates("endpoint", "pause", served)
    waiting = person.simulates("flux", "never", "--on", served, "--detach", *SMALL).data["job"]
    early = person.simulates("jobs", "fetch", waiting)
    assert early.error["message"].endswith("is queued")
    assert person.simulates("jobs", "cancel", waiting).data["cancelled"] is True
    assert person.simulates("jobs", "cancel", waiting).data["cancelled"] is False
    assert (
        person.simulates("jobs", "attach", waiting).error["details"]["worker_code"] == "cancelled"
    )


def test_a_client_that_is_killed_loses_nothing(person: Person, served: str) -> None:
    person.simulates("endpoint", "pause", served)  # so that the job surely waits when it happens
    process = person.start("--sim", "flux", "a hare", "--on", served, "--seed", "3", *SMALL)
    assert process.stderr is not None
    for line in process.stderr:
        if "waiting for a worker" in line:
            break
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    person.simulates("endpoint", "resume", served)
    job = person.simulates("jobs", "list").data["jobs"][0]
    data = person.simulates("jobs", "attach", job["job"]).data
    assert Path(data["file"]).name == "a-hare-3.png"
    prompts = [each["prompt"] for each in person.simulates("jobs", "list").data["jobs"]]
    assert prompts.count("a hare") == 1


def test_the_plan_names_cards_prices_and_the_whole_request_and_makes_nothing(
    person: Person,
) -> None:
    argv = ("endpoint", "create", "flux", "--max-price", "1.2", "--min-workers", "1", "--dry-run")
    person.environ |= {"S3_BUCKET_NAME": "files", "S3_SECRET_ACCESS_KEY": "not-to-be-shown"}
    shown = person.simulates(*argv)
    data = shown.data
    assert "not-to-be-shown" not in shown.stdout + shown.stderr
    assert data["body"]["env"]["S3_SECRET_ACCESS_KEY"] == "***"
    del person.environ["S3_BUCKET_NAME"], person.environ["S3_SECRET_ACCESS_KEY"]
    body = data["body"]
    assert all(card["price_usd_h"] <= 1.2 for card in data["cards"])
    assert "NVIDIA GeForce RTX 5090" not in [card["id"] for card in data["cards"]]
    assert body["timeout"] == 600_000
    assert body["env"]["GPUCTL_WORKLOAD"] == "flux"
    assert "/gpuctl-flux:" in body["image"], "a worker's image has our scripts in it"
    assert data["always_on_usd_h"] > 0
    assert data["body"]["name"] not in person.simulates("endpoint", "list").stdout
    dear = person.simulates("endpoint", "create", "flux", "--max-price", "0.1")
    assert dear.code == 6
    assert dear.error["hint"].startswith("--max-price")
    none = person.simulates("endpoint", "create", "flux", "--min-vram", "500")
    assert none.code == 5
    assert person.simulates("endpoint", "create", "flux", "--template", "nobodys").code == 3
    volume = ("volumes", "create", "models", "--size", "10", "--dc", "EU-RO-1")
    made = person.simulates("-y", *volume).data["volume"]["id"]
    bound = person.simulates("endpoint", "create", "flux", "--volume", made, "--dry-run").data
    assert bound["body"]["networkVolumes"] == [made]
    assert bound["body"]["dataCenterIds"] == ["EU-RO-1"], "workers elsewhere could not mount it"
    assert bound["body"]["env"]["GPUCTL_WORKSPACE"] == "/runpod-volume"


def test_an_endpoint_is_looked_into_changed_paused_resumed_and_deleted(
    person: Person,
) -> None:
    made = person.simulates("endpoint", "create", "flux").data["endpoint"]
    name = person.simulates("endpoint", "show", made["id"]).data["endpoint"]["name"]
    changed = person.simulates(
        "endpoint", "update", name, "--max-workers", "2", "--timeout", "20m", "--max-price", "1.0"
    ).data
    assert sorted(changed["changes"]) == ["gpu", "timeout", "workers"]
    assert changed["endpoint"]["timeout_s"] == 1200
    assert changed["endpoint"]["price_usd_h"] <= 1.0
    assert changed["endpoint"]["idle_timeout_s"] == 10, "what is not named stays"

    assert person.simulates("endpoint", "pause", name).data["endpoint"]["paused_max"] == 2
    assert person.simulates("endpoint", "pause", name).envelope["changed"] is False
    workers = person.simulates("endpoint", "workers", name).data
    assert workers["diagnosis"]["cause"] == "paused"
    assert person.simulates("endpoint", "resume", name).data["endpoint"]["workers_max"] == 2

    always = person.simulates("endpoint", "update", name, "--min-workers", "1").data["endpoint"]
    rows = person.simulates("resources").data["resources"]
    (row,) = [each for each in rows if each["id"] == made["id"]]
    assert row["usd_h"] == pytest.approx(always["price_usd_h"])
    until(
        lambda: "worker is starting" in person.simulates("endpoint", "logs", name).stdout, "a log"
    )
    versions = person.simulates("endpoint", "releases", name).data["releases"]
    assert [each["version"] for each in versions] == [2, 1]
    assert person.simulates("endpoint", "health", name).data["workers"]["unhealthy"] == 0
    assert person.simulates("-y", "endpoint", "purge", name).data["removed"] == 0
    assert person.simulates("--no-input", "endpoint", "delete", name).code == 2
    assert person.simulates("-y", "endpoint", "delete", name).data["deleted"] == made["id"]
    assert person.simulates("endpoint", "show", name).code == 3


def test_an_endpoint_whose_create_broke_is_found_by_its_name(person: Person, served: str) -> None:
    simulator = launcher.ensure(person.sim_folder)
    launcher.add_fault(simulator, "create-500")
    made = person.simulates("endpoint", "create", "flux").data["endpoint"]
    listed = [each["id"] for each in person.simulates("endpoint", "list").data["endpoints"]]
    assert sorted(listed) == sorted([made["id"], served])
    assert person.simulates("-y", "endpoint", "delete", made["id"]).code == 0
    again = person.simulates("deploy", "flux", "--serverless").data["endpoint"]
    assert again["id"] == served, "the one that is there is used"


def test_a_job_that_waits_says_whether_workers_crash_or_lack_a_gpu(
    person: Person, served: str
) -> None:
    person.environ["GPUCTL_ENDPOINT__DIAGNOSE_AFTER"] = "1s"
    simulator = launcher.ensure(person.sim_folder)
    launcher.add_fault(simulator, "worker-crash-loop")
    person.simulates("endpoint", "update", served, "--env", "NEW=1")  # another version: new workers
    process = person.start("--sim", "flux", "a fox", "--on", served, *SMALL)
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if "crash" in line:
            break
    assert "no lack of GPUs" in said
    assert "gpuctl endpoint logs" in said
    launcher.clear_faults(simulator)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 0, said + rest


def test_a_handler_is_tried_here_under_the_real_sdk(person: Person) -> None:
    sent = person.simulates("flux", "a fox", "--dry-run", *SMALL).data["input"]
    file = person.folder / "job.json"
    file.write_text(json.dumps({"input": sent}))
    port = _free_port()
    argv = ("endpoint", "dev", "flux", "--input", str(file), "--port", str(port))
    answer: dict[str, Any] = person.simulates(*argv).data
    assert answer["status"] == "COMPLETED"
    assert answer["output"]["artifacts"][0]["media_type"] == "image/png"


def test_panic_ends_the_endpoints_too_and_reads_that_they_are_gone(
    person: Person, served: str
) -> None:
    outcome = person.simulates("panic", "--confirm=panic").data
    (ended,) = [each for each in outcome["ended"] if each["id"] == served]
    assert ended["proof"] == "a later list no longer has it"
    assert person.simulates("endpoint", "list").data["endpoints"] == []
    # What was finished there can still be had: it was saved before it was shown.
    done = [row for row in person.simulates("jobs", "list").data["jobs"] if row["files"]]
    again = person.simulates("jobs", "fetch", done[0]["job"], "--out", "later/")
    assert again.code == 0, again.stderr
    assert list((person.folder / "later").glob("*.png"))


def _free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])
