"""Each check says what it found and what to type; none hides another."""

from __future__ import annotations

import json
import sqlite3
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gpuctl import config, resources
from gpuctl.errors import ConfigError, NotFound
from gpuctl.models import Machine, Need, Secret
from gpuctl.providers import runpod
from gpuctl.services import (
    doctor,
    doctor_accounts,
    doctor_local,
    doctor_machines,
    doctor_runpod,
    doctor_ssh,
)
from gpuctl.services.doctor import Bench, Check
from gpuctl.services.findings import Finding, ok
from gpuctl.services.ssh_identity import own_key
from gpuctl.services.waiting import SystemClock
from gpuctl.state import State
from tests.support.accounts_stub import HF_TOKEN, RUNPOD_KEY, Accounts, accounts_stub
from tests.support.openapi import description_file

NEED = Need(image="i", vram_gb=24, disk_gb=30, volume_gb=80)


@pytest.fixture
def stub() -> Iterator[Accounts]:
    with accounts_stub() as found:
        yield found


def nowhere(_: Machine) -> Any:
    raise NotFound("there is no machine here")


def a_bench(home: Path, stub: Accounts, **changes: Any) -> Bench:
    environ = {**stub.environ, "RUNPOD_API_KEY": RUNPOD_KEY, **changes.pop("environ", {})}
    settings = config.load(
        schema=resources.bundled("config_defaults.yaml"),
        cache_folder=None,
        environ=environ,
        project_folder=home / "project",
        user_config=home / "none.yaml",
    )
    key = settings.secret("runpod.api_key")
    url = settings.text("runpod.api_url")
    values: dict[str, Any] = {
        "settings": settings,
        "environ": environ,
        "folder": home / "project",
        "home": home,
        "state": State(home / "state/state.db"),
        "ssh_key": home / ".ssh/id_ed25519",
        "api_url": url,
        "api_key": key,
        "provider": runpod.connect(
            api_url=url, api_key=key, timeout_s=5, sleep=threading.Event().wait
        ),
        "need": NEED,
        "clock": SystemClock(),
        "connect": nowhere,
        "timeout_s": 5.0,
        "sleep": lambda _: None,
    }
    return Bench(**{**values, **changes})


@pytest.fixture
def bench(private_home: Path, stub: Accounts) -> Bench:
    return a_bench(private_home, stub)


def named(findings: Any, name: str) -> Finding:
    return next(finding for finding in findings if finding.name == name)


# the bench itself


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_check_that_fails_or_hangs_hides_no_other(bench: Bench) -> None:
    never = threading.Event()

    def breaks(_: Bench) -> list[Finding]:
        raise KeyError("surprise")

    def refuses(_: Bench) -> list[Finding]:
        raise ConfigError("wrong", hint="do this")

    def hangs(_: Bench) -> list[Finding]:
        never.wait(30)
        return []

    def dies(_: Bench) -> list[Finding]:
        raise SystemExit

    began = time.monotonic()
    found = doctor.run(
        bench,
        [
            Check("breaks", breaks),
            Check("hangs", hangs, 0.2),
            Check("refuses", refuses),
            Check("hangs too", hangs, 0.2),
            Check("dies", dies),
            Check("works", lambda _: [ok("works", "yes")]),
        ],
    )
    never.set()
    assert [(one.name, one.status) for one in found] == [
        ("breaks", "fail"),
        ("hangs", "fail"),
        ("refuses", "fail"),
        ("hangs too", "fail"),
        ("dies", "fail"),
        ("works", "ok"),
    ]
    assert (found[0].found, found[1].found, found[2].remedy) == (
        "cannot be checked: KeyError: 'surprise'",
        "no answer within 0.2 s",
        "do this",
    )
    assert time.monotonic() - began < 2  # side by side


# RunPod


def test_one_call_tells_the_key_the_clock_and_the_limits(bench: Bench, stub: Accounts) -> None:
    found = doctor_runpod.account(bench)
    assert [one.status for one in found] == ["ok", "ok", "ok", "ok"]
    assert named(found, "rate-limit").found == "590/600 this minute, 29000/30000 this hour left"
    assert stub.asked("GET") == 1


def test_a_refused_key_is_not_a_broken_network(private_home: Path, stub: Accounts) -> None:
    wrong = a_bench(private_home, stub, environ={"RUNPOD_API_KEY": "rpa_wrong0000"})
    found = doctor_runpod.account(wrong)
    assert named(found, "runpod-api").status == "ok"
    assert named(found, "runpod-key").found == (
        "RunPod refused the key: invalid API key (the key of environment RUNPOD_API_KEY)"
    )
    assert "gpuctl setup" in str(named(found, "runpod-key").remedy)


def test_no_key_and_no_network_each_say_so(private_home: Path, stub: Accounts) -> None:
    [unset] = doctor_runpod.account(a_bench(private_home, stub, api_key=None))
    assert (unset.status, unset.found) == ("fail", "not set")
    [dead] = doctor_runpod.account(a_bench(private_home, stub, api_url="http://127.0.0.1:9/v2"))
    assert (dead.name, dead.status) == ("runpod-api", "fail")


def test_one_cause_is_one_failure(private_home: Path, stub: Accounts, bench: Bench) -> None:
    wrong = a_bench(private_home, stub, environ={"RUNPOD_API_KEY": "rpa_wrong0000"})
    found = doctor.run(wrong, [*doctor_runpod.CHECKS, *doctor_machines.CHECKS])
    assert [one.name for one in found if one.status == "fail"] == ["runpod-key"]
    assert named(found, "offers").found == "the RunPod key is refused"
    stub.answers = {"GET /v2/pods": (429, {"detail": "rate limit exceeded"})}
    limited = doctor.run(bench, doctor_runpod.CHECKS)
    assert [one.name for one in limited if one.status == "fail"] == ["runpod-api"]
    assert named(limited, "runpod-api").remedy == "wait a minute, then: gpuctl doctor"
    assert "could not be asked" in named(limited, "open-ports").found


@pytest.mark.parametrize(
    ("offset_s", "said"), [(-3600.0, "s ahead"), (3600.0, "s behind"), (5.0, "within 60 s")]
)
def test_a_skewed_clock_is_measured(
    bench: Bench, stub: Accounts, offset_s: float, said: str
) -> None:
    stub.clock_offset_s = offset_s
    finding = named(doctor_runpod.account(bench), "clock")
    assert said in finding.found
    assert finding.status == ("ok" if abs(offset_s) < 60 else "warn")


def test_limits_that_are_nearly_used_up_are_a_warning(bench: Bench, stub: Accounts) -> None:
    stub.rate_limit = '"minute";r=500;t=3, "hour";r=20;t=1800'
    finding = named(doctor_runpod.account(bench), "rate-limit")
    assert finding.status == "warn"
    assert "20/30000 this hour" in finding.found


def test_what_a_narrow_key_may_not_read_is_named(bench: Bench, stub: Accounts) -> None:
    stub.answers = {"GET /v2/network-volumes": (403, {"detail": "no"})}
    [finding] = doctor_runpod.scope(bench)
    assert (finding.status, finding.found) == ("warn", "the key may not read network volumes")


@pytest.mark.openapi
def test_drift_of_the_live_description_is_found(bench: Bench, stub: Accounts) -> None:
    stub.openapi = json.loads(description_file().read_text(encoding="utf-8"))
    [same] = doctor_runpod.description(bench)
    assert same.status == "ok"
    del stub.openapi["paths"]["/v2/pods/{id}/action"]
    [drifted] = doctor_runpod.description(bench)
    assert (drifted.status, drifted.remedy) == ("fail", "upgrade gpuctl")
    assert "POST /v2/pods/{id}/action is gone" in drifted.found
    assert drifted.details["broken"] == ["POST /v2/pods/{id}/action is gone"]


@pytest.mark.parametrize("answer", [(200, "<html>not JSON</html>"), (200, {}), (502, "gateway")])
def test_a_description_that_is_none_is_only_a_warning(
    bench: Bench, stub: Accounts, answer: tuple[int, Any]
) -> None:
    stub.answers = {"GET /v2/openapi.json": answer}
    [finding] = doctor_runpod.description(bench)
    assert finding.status == "warn"


def test_the_balance_is_garnish(bench: Bench, stub: Accounts) -> None:
    assert doctor_runpod.balance(bench)[0].found == "$25.00"
    stub.balance = 1.0
    assert doctor_runpod.balance(bench)[0].status == "warn"
    stub.balance = 0.0
    assert doctor_runpod.balance(bench)[0].status == "fail"
    stub.answers = {"POST /graphql": (410, "")}
    gone = doctor_runpod.balance(bench)[0]
    assert (gone.status, gone.found[:8]) == ("skipped", "unknown:")


def test_the_price_limit_is_held_against_the_cheapest_offer(
    private_home: Path, stub: Accounts, bench: Bench
) -> None:
    [fits] = doctor_runpod.stock(bench)
    assert (fits.status, "L4 at $0.39/h" in fits.found) == ("ok", True)
    stingy = a_bench(private_home, stub, environ={"GPUCTL_RUNPOD__MAX_PRICE_USD_H": "0.2"})
    [refused] = doctor.run(stingy, [Check("offers", doctor_runpod.stock)])
    assert refused.status == "fail"
    assert "above the limit of $0.20/h" in refused.found
    large = replace(bench, need=replace(NEED, vram_gb=200))
    assert doctor_runpod.stock(large)[0].status == "warn"


def test_a_network_volume_that_is_gone_or_too_small_is_named(
    private_home: Path, stub: Accounts
) -> None:
    with_volume = a_bench(private_home, stub, environ={"RUNPOD_VOLUME_ID": "vol1"})
    [gone] = doctor_runpod.stock(with_volume)
    assert (gone.status, gone.found) == ("fail", "there is no network volume vol1")
    small = {"id": "vol1", "name": "v", "size": 50, "dataCenter": "EU-RO-1"}
    stub.answers = {"GET /v2/network-volumes/vol1": (200, small)}
    volume, offers = doctor_runpod.stock(with_volume)
    assert (volume.status, volume.found) == ("warn", "vol1: 50 GB in EU-RO-1; flux wants 80 GB")
    assert offers.name == "offers"


def test_ports_that_answer_anyone_are_found_and_the_key_is_not_shown_to_them(
    bench: Bench, stub: Accounts
) -> None:
    pod = {"id": "p1", "name": "gpuctl-sd-x", "status": "RUNNING", "ports": ["22/tcp", "8188/http"]}
    stub.pods = [pod, {**pod, "id": "p2", "status": "EXITED"}]
    at_stub = replace(bench, proxy_url=stub.url + "/proxy/{pod}/{port}")
    [open_] = doctor_runpod.open_ports(at_stub)
    assert (open_.name, open_.status) == ("port 8188 of gpuctl-sd-x", "warn")
    stub.answers = {"GET /proxy/p1": (401, "")}
    assert doctor_runpod.open_ports(at_stub)[0].status == "ok"
    stub.answers = {"GET /proxy/p1": (502, "")}
    assert "nothing answers" in doctor_runpod.open_ports(at_stub)[0].found


def test_a_server_that_never_answers_costs_one_limit_not_one_for_each_check(
    private_home: Path, stub: Accounts
) -> None:
    stub.hanging = {"GET /", "POST /"}
    slow = a_bench(private_home, stub, timeout_s=0.3)
    checks = [replace(check, limit_s=3.0) for check in doctor_runpod.CHECKS]
    began = time.monotonic()
    found = doctor.run(slow, [*checks, *doctor_local.CHECKS])
    assert time.monotonic() - began < 3.0 * len(checks) / 2
    assert named(found, "runpod-api").found == "127.0.0.1 did not answer within 0.3 s"
    assert named(found, "python").status == "ok"


# the other accounts


def test_accounts_that_are_not_set_are_left_out_and_wrong_ones_fail(
    private_home: Path, stub: Accounts, bench: Bench
) -> None:
    checks = [check for check in doctor_accounts.CHECKS if check.name == "huggingface"]
    assert doctor.run(bench, checks)[0].status == "skipped"
    right = a_bench(private_home, stub, environ={"HF_TOKEN": HF_TOKEN})
    assert doctor.run(right, checks)[0].found == "op (read token)"
    wrong = a_bench(private_home, stub, environ={"HF_TOKEN": "hf_wrong000000000000"})
    assert doctor.run(wrong, checks)[0].status == "fail"


def test_the_licence_of_a_gated_model_is_checked_with_the_token(
    private_home: Path, stub: Accounts, bench: Bench
) -> None:
    assert "no Hugging Face token" in doctor_accounts.licence(bench)[0].found
    right = a_bench(private_home, stub, environ={"HF_TOKEN": HF_TOKEN})
    assert doctor_accounts.licence(right)[0].status == "ok"
    stub.answers = {"GET /api/models/": (403, {"error": "gated"})}
    [refused] = doctor_accounts.licence(right)
    assert refused.status == "fail"
    assert "black-forest-labs/FLUX.1-dev" in str(refused.remedy)


# this computer


def test_a_key_that_others_may_read_fails_and_is_mended_on_request(bench: Bench) -> None:
    key = own_key(bench.ssh_key)
    key.chmod(0o644)
    [found] = doctor_ssh.key(bench)
    assert (found.status, found.remedy) == ("fail", f"chmod 600 {key}")
    [fixed] = doctor_ssh.key(replace(bench, fixes=True))
    assert (fixed.status, fixed.fixed) == ("ok", f"chmod 600 {key} (was 0644)")
    assert doctor_ssh.key(bench)[0].fixed is None


def test_a_public_half_of_another_key_is_found(bench: Bench) -> None:
    own_key(bench.ssh_key)
    other = own_key(bench.home / "other")
    (bench.ssh_key.parent / "id_ed25519.pub").write_text((bench.home / "other.pub").read_text())
    assert other.exists()
    assert "belongs to another key" in doctor_ssh.key(bench)[0].found


def test_a_key_with_a_passphrase_needs_an_agent_that_holds_it(bench: Bench) -> None:
    bench.ssh_key.parent.mkdir()
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(bench.ssh_key)]
    subprocess.run(command, check=True)
    [found] = doctor_ssh.key(bench)
    assert (found.status, found.remedy) == ("fail", f"ssh-add {bench.ssh_key}")


def test_an_agent_that_is_gone_is_named(bench: Bench) -> None:
    environ = {**bench.environ, "SSH_AUTH_SOCK": str(bench.home / "gone")}
    [found] = doctor_ssh.agent(replace(bench, environ=environ))
    assert (found.status, found.remedy) == ("warn", "unset SSH_AUTH_SOCK")


def test_a_list_of_hosts_that_others_may_write_is_closed(bench: Bench) -> None:
    hosts = bench.home / ".ssh/known_hosts"
    hosts.parent.mkdir(mode=0o700)
    hosts.write_text("")
    hosts.chmod(0o666)
    assert doctor_ssh.folder(bench)[0].remedy == f"chmod go-w {hosts}"
    assert doctor_ssh.folder(replace(bench, fixes=True))[0].fixed is not None
    assert stat.S_IMODE(hosts.stat().st_mode) == 0o644


def test_an_open_env_file_is_closed_and_ignored_on_request(bench: Bench) -> None:
    env = bench.folder / ".env"
    env.write_text("A=1\n")
    env.chmod(0o644)
    subprocess.run(["git", "init", "-q", str(bench.folder)], check=True)
    found = doctor_local.secret_files(bench)
    assert [one.status for one in found] == ["warn", "warn"]
    fixed = doctor_local.secret_files(replace(bench, fixes=True))
    assert [one.fixed for one in fixed] == [
        f"chmod 600 {env} (was 0644)",
        f"added to {bench.folder}/.gitignore",
    ]
    assert [one.status for one in doctor_local.secret_files(bench)] == ["ok", "ok"]


def test_a_committed_env_file_means_new_keys(bench: Bench) -> None:
    (bench.folder / ".env").write_text("A=1\n")
    subprocess.run(["git", "init", "-q", str(bench.folder)], check=True)
    subprocess.run(["git", "add", ".env"], cwd=bench.folder, check=True)
    tracked = named(doctor_local.secret_files(bench), ".env in git")
    assert tracked.status == "fail"
    assert "make new keys" in str(tracked.remedy)


def test_unknown_variables_of_ours_are_named_with_the_nearest(bench: Bench) -> None:
    environ = {**bench.environ, "GPUCTL_FLUX_GUIDANCE": "3", "GPUCTL_SIM": "1"}
    [found] = doctor_local.variables(replace(bench, environ=environ))
    assert found.found == "GPUCTL_FLUX_GUIDANCE means nothing; did you mean GPUCTL_FLUX__GUIDANCE?"


def test_a_damaged_state_and_open_intents_are_found(bench: Bench) -> None:
    bench.state.intend("gpuctl-flux-1", "runpod", "flux", {})
    journal = named(doctor_local.state(bench), "state-db")
    assert (journal.status, "gpuctl-flux-1" in journal.found) == ("warn", True)
    bench.state.resolve("gpuctl-flux-1", "never_created")
    assert named(doctor_local.state(bench), "state-db").status == "ok"
    with sqlite3.connect(bench.state.path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    bench.state.path.write_bytes(b"this is no database" * 100)
    assert named(doctor_local.state(bench), "state-db").status == "fail"


def test_a_state_folder_that_cannot_be_is_named_and_one_that_can_is_made(bench: Bench) -> None:
    (bench.home / "file").write_text("")
    blocked = replace(bench, state=State(bench.home / "file/state.db"))
    assert named(doctor_local.state(blocked), "state").status == "fail"
    made = doctor_local.state(replace(bench, fixes=True))[0]
    assert made.fixed == f"made {bench.state.path.parent}"
    assert stat.S_IMODE(bench.state.path.parent.stat().st_mode) == 0o700


# machines


class Box:
    """A shell whose answers are prepared by the first word of the command."""

    def __init__(self, slow_s: float = 0.0, requirements: str = "") -> None:
        self.slow_s = slow_s
        self.requirements = requirements

    def run(self, argv: Any, *, stdin: bytes = b"", timeout_s: float = 60.0) -> Any:
        from gpuctl.remote.base import Completed

        if "SHLVL=0" in argv:
            threading.Event().wait(self.slow_s)
        said = {"cat": "cubic\n", "sh": self.requirements}.get(argv[0], "")
        return Completed(0, said, "")

    def __enter__(self) -> Box:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def test_deep_looks_inside_the_machines_that_run(bench: Bench, stub: Accounts) -> None:
    stub.pods = [
        {"id": "p1", "name": "gpuctl-flux-1", "status": "RUNNING", "gpu": {"count": 1}},
        {"id": "p2", "name": "gpuctl-flux-2", "status": "EXITED", "gpu": {"count": 1}},
    ]
    [dead] = doctor_machines.machines(bench)
    assert (dead.name, dead.status, dead.found) == (
        "gpuctl-flux-1",
        "fail",
        "there is no machine here",
    )
    box = Box(slow_s=0.2, requirements="torch\nrunpod==1.9.1\n")
    found = doctor_machines.machines(replace(bench, connect=lambda _: box))
    assert [(one.name, one.status) for one in found] == [
        ("gpuctl-flux-1", "ok"),
        ("gpuctl-flux-1 login", "warn"),
        ("gpuctl-flux-1 tcp", "ok"),
        ("gpuctl-flux-1 worker", "warn"),
    ]
    assert found[2].found == "sends with cubic"


def test_a_slow_bashrc_is_measured_as_sshd_runs_it(
    bench: Bench, stub: Accounts, private_home: Path
) -> None:
    from gpuctl.remote.local import LocalShell

    stub.pods = [{"id": "p1", "name": "gpuctl-flux-1", "status": "RUNNING", "gpu": {"count": 1}}]
    local = replace(bench, connect=lambda _: LocalShell())
    names = [one.name for one in doctor_machines.machines(local)]
    assert "gpuctl-flux-1 login" not in names
    (private_home / ".bashrc").write_text("sleep 0.3\n")
    slow = named(doctor_machines.machines(local), "gpuctl-flux-1 login")
    assert (slow.status, "ms at every command" in slow.found) == ("warn", True)


@pytest.mark.parametrize(
    ("version", "is_bad"),
    [("1.7.10", False), ("1.7.11", True), ("1.9", True), ("1.10.0", True), ("1.10.1", False)],
)
def test_the_releases_with_the_queue_defect_are_known(version: str, is_bad: bool) -> None:
    assert doctor_machines.is_bad_worker(version) is is_bad


def test_a_secret_is_in_no_finding(bench: Bench) -> None:
    found = doctor.run(bench, [*doctor_local.CHECKS, *doctor_ssh.CHECKS, *doctor_runpod.CHECKS])
    assert RUNPOD_KEY not in json.dumps([one.as_json() for one in found])
    assert bench.api_key == Secret(RUNPOD_KEY)
