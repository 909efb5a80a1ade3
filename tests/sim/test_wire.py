"""What goes over the wire in a test is written down, and held against RunPod's description."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gpuctl.models import Json
from gpuctl.sim.launcher import Simulator, add_fault
from gpuctl.sim.wire import RECORD
from tests.support.openapi import Exchange, description_file, violations
from tests.support.simulator import a_running_pod, api_client, order, running_simulator
from tests.support.wire import Wire


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """Records into a folder of its own: what is wrong here on purpose fails no other test."""
    (tmp_path / "wire").mkdir()
    monkeypatch.setenv(RECORD, str(tmp_path / "wire"))
    with running_simulator(tmp_path / "sim") as found:
        yield found


@pytest.fixture
def own_wire(recorded: Simulator, tmp_path: Path) -> Wire:
    return Wire(tmp_path / "wire")


def lines(wire: Wire) -> list[Json]:
    [path] = wire.folder.iterdir()
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_exchange_is_written_whole_and_without_a_key(
    recorded: Simulator, own_wire: Wire
) -> None:
    with api_client(recorded) as client:
        pod = a_running_pod(client)
        add_fault(recorded, "rate-limit")
        assert client.post("/pods", json=order("refused")).status_code == 429
        with client.stream("GET", f"/pods/{pod['id']}/logs", params={"tail": 0}) as stream:
            assert stream.status_code == 200
    created, *_, refused, streamed = lines(own_wire)
    assert (created["method"], created["path"], created["status"]) == ("POST", "/v2/pods", 201)
    assert json.loads(created["answer"])["id"] == pod["id"]
    assert json.loads(refused["body"])["name"] == "refused"
    assert (streamed["query"], streamed["answer"]) == ("tail=0", None)
    assert recorded.api_key.reveal() not in json.dumps(lines(own_wire))
    assert {line["simulator"] for line in lines(own_wire)} == {str(recorded.folder)}


@pytest.mark.openapi
def test_a_question_that_runpod_would_refuse_is_found_although_it_was_answered(
    recorded: Simulator, own_wire: Wire
) -> None:
    description_file()
    with api_client(recorded) as client:
        client.get("/pods")
        assert own_wire.violations() == []
        add_fault(recorded, "server-error")
        client.post("/pods", json={**order(), "gpuCount": 1})
    [problem] = own_wire.violations()
    assert "gpuCount" in problem
    assert own_wire.violations() == [], "each is told once"
    assert own_wire.count == 2


ASKED = Exchange(
    "GET",
    "/v2/account/ssh-keys",
    200,
    asked_headers={"authorization": "Bearer ***"},
    headers={
        "content-type": "application/json",
        "ratelimit": '"minute";r=599;t=60',
        "ratelimit-policy": '"minute";q=600;w=60',
    },
    answer='{"keys":[]}',
)


@pytest.mark.openapi
@pytest.mark.parametrize(
    "change",
    [
        {"answer": '{"keys":"none"}'},
        {"answer": "{}"},
        {"answer": '{"keys":['},
        {"headers": {**ASKED.headers, "content-type": "text/plain"}},
        {"status": 500},
        {"status": 422},
        {"method": "PUT", "body": '{"keys":7}'},
        {"method": "PATCH"},
        {"path": "/v2/accounts"},
    ],
)
def test_what_is_not_as_described_is_found(change: Json) -> None:
    description_file()
    assert violations(ASKED) == []
    assert violations(replace(ASKED, **change)) != []


@pytest.mark.openapi
@pytest.mark.parametrize(
    "change",
    [
        {"status": 502, "headers": {"content-type": "text/html"}, "answer": "<html>"},
        {"path": "/v2/openapi.json", "answer": '{"openapi":"3.1.0"}'},
        {"path": "/v2/nothing", "status": 404, "answer": "{}"},
    ],
)
def test_what_is_wrong_on_purpose_is_let_through(change: Json) -> None:
    description_file()
    assert violations(replace(ASKED, **change)) == []


def test_exchanges_that_differ_in_times_alone_are_looked_at_once() -> None:
    first = replace(ASKED, answer='{"createdAt":"2026-11-21T15:00:02.228072Z","uptime":3}')
    later = replace(ASKED, answer='{"createdAt":"2026-11-21T16:00:00Z","uptime":4000}')
    assert first.key() == later.key()
    assert first.key() != replace(later, answer='{"createdAt":"now","uptime":3}').key()
    assert first.key() != replace(first, status=201).key()
