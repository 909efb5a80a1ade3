"""gpuctl status as typed: what machines do and cost, once and until Ctrl-C."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from gpuctl.clients.http_errors import pace_s
from gpuctl.commands.status_text import Look, look_text
from gpuctl.models import Address, Machine
from gpuctl.providers.runpod import machine_of
from gpuctl.services import spans
from gpuctl.services.machines import Listed
from gpuctl.services.targets import short_name
from gpuctl.state_records import Intent
from tests.support.household import Household, ended, household, read_until

NAME = "gpuctl-flux-01m7yze7g3pcjcfc0b7et672q6"
BUSY = ("--gpu", "L4", "--env", "GPUCTL_SIM_GPU_USE=73,41")
POD = {
    "id": "pod1",
    "name": NAME,
    "status": "RUNNING",
    "ports": ["8188/http", "22/tcp", "6006/tcp"],
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Household]:
    with household(tmp_path_factory.mktemp("home"), machine=False) as one:
        assert one.simulates("deploy", "flux", *BUSY).code == 0
        yield one


def test_the_gpu_use_is_what_the_provider_measures(home: Household) -> None:
    machine = home.simulates("status", "flux", "--fast").data["machine"]
    assert (machine["gpu_util_percent"], machine["gpu_memory_percent"]) == (73, 41)
    assert machine["uptime_s"] >= 0
    assert "73/41 %" in home.types("--sim", "status", "--fast").stdout


def test_what_it_cost_so_far_grows(home: Household) -> None:
    first = home.simulates("status", "flux", "--fast").data["machine"]["usd_so_far"]
    second = home.simulates("status", "--fast").data["machines"][0]["usd_so_far"]
    assert 0 < first < second


def test_the_short_name_that_is_shown_is_taken_everywhere(home: Household) -> None:
    shown = home.types("--sim", "status", "--fast").stdout.splitlines()[1].split()[0]
    full = home.simulates("status", shown, "--fast").data["machine"]["name"]
    assert shown == short_name(full)
    assert home.types("--sim", "exec", "--on", shown, "--", "true").code == 0
    assert home.simulates("connect", shown).code == 0
    assert home.simulates("lease", "show", shown).data["leases"][0]["machine"] == full


def test_watching_into_a_pipe_says_what_changes_and_ends_on_ctrl_c(home: Household) -> None:
    process = home.start("--sim", "status", "--watch", "--every", "0.2", "--fast")
    try:
        assert "GPU 73/41 %" in read_until(process, "is RUNNING")
        assert home.simulates("stop", "flux").code == 0
        read_until(process, "is EXITED")
        assert home.simulates("start", "flux").code == 0
        read_until(process, "is RUNNING")
    finally:
        left = ended(process)
    assert left.code == 0, left.said
    assert home.simulates("status", "flux", "--fast").data["machine"]["status"] == "RUNNING"


def test_watching_as_json_is_a_line_for_each_look_and_an_envelope(home: Household) -> None:
    process = home.start("--sim", "--json", "status", "--watch", "--every", "0.2", "--fast")
    looks = [json.loads(read_until(process, '"at"')) for _ in range(2)]
    left = ended(process)
    envelope = json.loads(left.stdout.splitlines()[-1])
    assert left.code == 0, left.said
    assert looks[0]["at"] < looks[1]["at"]
    assert envelope["schema"] == "gpuctl/1"
    assert envelope["data"]["ended"] == "interrupted"
    assert [one["name"] for one in envelope["data"]["machines"]] == [
        one["name"] for one in looks[1]["machines"]
    ]


def test_the_table_fits_a_hundred_columns() -> None:
    machine = Machine(
        id="abcdefghij1234", name=NAME, provider="runpod", status="RUNNING",
        address=Address("213.173.108.112", 40123), gpu="NVIDIA GeForce RTX 4090",
        price_usd_h=0.69, gpu_util_percent=100, gpu_memory_percent=97.5,
    )  # fmt: skip
    look = Look([Listed(machine, True)], {}, {machine.id: 12.3}, now=0.0)
    head, row, *_ = look_text(look).splitlines()
    room_for_a_lease = len("12h 58m ✓2/2") - len("LEASE")
    assert max(len(head), len(row)) + room_for_a_lease <= 100
    assert row.split()[:5] == ["flux-t672q6", "RUNNING", "RTX", "4090", "100/98"]


@pytest.mark.parametrize(
    "runtime",
    [None, {}, {"gpus": None}, {"gpus": [None]}, {"gpus": [{"util": "much"}], "ports": [1]}],
    ids=repr,
)
def test_telemetry_that_is_missing_is_unknown_and_not_zero(runtime: object) -> None:
    machine = machine_of({**POD, "runtime": runtime}, trusts_loopback=True)
    assert (machine.gpu_util_percent, machine.gpu_memory_percent) == (None, None)


def test_ports_are_shown_where_they_answer() -> None:
    mapped = {"private": 6006, "public": 30123, "type": "tcp", "ip": "213.173.1.1"}
    runtime = {"gpus": [{"util": 10, "memoryUtil": 2}, {"util": 30}], "ports": [mapped]}
    machine = machine_of({**POD, "runtime": runtime}, trusts_loopback=True)
    assert machine.urls == (
        "https://pod1-8188.proxy.runpod.net",
        "tcp://213.173.1.1:30123 (port 6006)",
    )
    assert machine.gpu_util_percent == 20
    assert machine_of({**POD, "status": "EXITED"}, trusts_loopback=True).urls == ()


def test_the_cost_so_far_counts_storage_and_stands_still_for_what_is_not_ours() -> None:
    detail = {"offer": {"price_usd_h": 0.5}, "disk_gb": 30, "volume_gb": 80}
    intent = Intent(NAME, "runpod", "flux", 0.0, detail, "created", "pod1")
    found = spans.usd_so_far([intent], {"pod1": 1.0, "theirs": 1.0}, 3600.0)
    assert set(found) == {"pod1"}
    assert 1.0 < found["pod1"] < 1.1
    stopped = spans.usd_so_far([intent], {"pod1": 0.0}, 3600.0)
    assert 0.5 < stopped["pod1"] < 0.6


def test_a_stopped_machine_is_shown_with_what_its_volume_costs() -> None:
    detail = {"offer": {"price_usd_h": 0.5}, "disk_gb": 30, "volume_gb": 80}
    stopped_usd_h = spans.stopped_usd_h([Intent(NAME, "runpod", "f", 0.0, detail, "created", "p")])
    assert stopped_usd_h["p"] * 730 == pytest.approx(80 * 0.20)
    pod = Machine(id="p", name=NAME, provider="runpod", status="EXITED", price_usd_h=0.0)
    look = Look([Listed(pod, True)], {}, {}, now=0.0, stopped_usd_h=stopped_usd_h)
    _, row, total, note = look_text(look).splitlines()
    assert "$0.022" in row
    assert total == "$0.022/h in all"
    assert "its volume" in note
    assert look.rate_usd_h(replace(pod, status="RUNNING", price_usd_h=0.5)) == 0.5


@pytest.mark.parametrize(
    ("limits", "pause_s"),
    [("", 0), ('"minute";r=60;t=60', 2), ('"minute";r=2;t=30', 30), ('"minute";r=0;t=12', 12)],
)
def test_looks_come_slower_as_the_rate_limit_runs_low(limits: str, pause_s: float) -> None:
    assert pace_s({"ratelimit": limits}) == pause_s
