"""Instances and disks at AWS are counted, named when they cannot be, and ended with the rest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.journeys.conftest import Person
from tests.support.ec2_stub import Disk, Ec2Stub, Instance, ec2_stub

OURS = {"gpuctl:workload": "whisper", "Name": "gate"}


@pytest.fixture
def aws(person: Person) -> Iterator[Ec2Stub]:
    with ec2_stub() as stub:
        person.environ["AWS_ENDPOINT_URL"] = stub.url
        person.environ["AWS_ACCESS_KEY_ID"] = "AKIAEXAMPLE"
        person.environ["AWS_SECRET_ACCESS_KEY"] = "a-secret-that-is-none"
        person.environ["GPUCTL_AWS__REGIONS"] = "us-east-1,eu-west-1"
        yield stub


def test_instances_and_disks_of_every_region_are_counted(person: Person, aws: Ec2Stub) -> None:
    aws.instances = [
        Instance("i-1", tags=OURS),
        Instance("i-2", "p9.huge", region="eu-west-1"),
        Instance("i-3", state="terminated"),
        Instance("i-4", state="stopped", tags=OURS),
    ]
    aws.disks = [Disk("vol-1", 100, "i-1"), Disk("vol-2", 50)]
    data = person.simulates("resources").data
    rows = {row["id"]: row for row in data["resources"]}
    assert {key: row["class"] for key, row in rows.items()} == {
        "i-1": "ours-forgotten",
        "i-2": "not-ours",
        "i-4": "ours-forgotten",
        "vol-1": "ours-running",
        "vol-2": "not-ours",
    }
    assert (rows["i-1"]["usd_h"], rows["i-2"]["usd_h"], rows["i-4"]["usd_h"]) == (0.526, None, 0.0)
    assert rows["vol-1"]["usd_month"] == pytest.approx(8.0)
    assert data["totals"]["not-ours"]["unknown_prices"] == 1
    assert {"EC2 us-east-1", "EC2 eu-west-1"} <= set(data["asked"])


def test_an_aws_that_refuses_is_no_all_clear(person: Person, aws: Ec2Stub) -> None:
    aws.refuses = True
    done = person.simulates("resources")
    assert done.code == 9
    unasked = done.envelope["data"]["unasked"]
    assert sorted(unasked) == ["EC2 eu-west-1", "EC2 us-east-1"]
    assert unasked["EC2 us-east-1"]["code"] == "credentials"
    assert "a-secret" not in done.stdout + done.stderr


def test_panic_ends_instances_of_ours(person: Person, aws: Ec2Stub) -> None:
    aws.instances = [
        Instance("i-1", tags=OURS),
        Instance("i-2"),
        Instance("i-5", tags=OURS, region="eu-west-1"),
    ]
    ended = person.simulates("panic", "--confirm=panic").data["ended"]
    assert sorted((row["id"], row["proof"]) for row in ended) == [
        ("i-1", "EC2 says terminated"),
        ("i-5", "EC2 says terminated"),
    ]
    assert [each.state for each in aws.instances] == ["terminated", "running", "terminated"]


def test_without_credentials_aws_is_not_asked(person: Person) -> None:
    asked = person.simulates("resources").data["asked"]
    assert asked == ["RunPod pods", "RunPod endpoints", "RunPod volumes"]


def test_the_simulator_never_asks_the_real_aws(person: Person, aws: Ec2Stub) -> None:
    del person.environ["AWS_ENDPOINT_URL"]
    assert all(name.startswith("RunPod") for name in person.simulates("resources").data["asked"])
