"""An instance is rented, reached and ended for sure, whatever goes wrong: moto and real ssh."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from gpuctl import config, resources
from gpuctl.errors import (
    GpuctlError,
    HostKeyChanged,
    NoCapacity,
    NotFound,
    StillBilling,
)
from gpuctl.models import Machine, MachineRequest, Pin
from gpuctl.providers.ec2 import Ec2Provider
from gpuctl.services import (
    ec2_ending,
    ec2_host_keys,
    ec2_launching,
    leases,
    machines,
    reaping,
    watchdogs,
)
from gpuctl.services.connections import Connector, SshOptions
from gpuctl.services.draining import Drained
from gpuctl.services.ec2_desk import Desk
from gpuctl.services.ec2_orders import Asked
from gpuctl.services.session import Session
from gpuctl.services.validation import Rehearsal
from gpuctl.services.validation_orders import Order
from gpuctl.services.waiting import SystemClock
from gpuctl.state import State
from tests.support.clock import HurriedClock, JumpingClock
from tests.support.moto_aws import NEED, REGION, MotoAws, moto_aws
from tests.support.recorder import Recorder
from tests.support.simulator import until

REQUEST = MachineRequest(name="gpuctl-whisper", workload="whisper", need=NEED)
NOBODY = {"pid": 2**22 + 1, "computer": "elsewhere"}
Clock = SystemClock | JumpingClock


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MotoAws]:
    with moto_aws(tmp_path_factory.mktemp("aws") / "sim") as found:
        yield found


@dataclass
class Room:
    """Everything a rehearsal works with, on a state file of its own."""

    aws: MotoAws
    settings: config.Settings
    session: Session
    recorder: Recorder

    @property
    def desk(self) -> Desk:
        return Desk(self.settings, self.aws.access, self.session, self.aws.key, here="127.0.0.1/32")

    @property
    def connector(self) -> Connector:
        options = SshOptions(self.aws.key, 10.0, 15, 30.0, 1 << 20)
        session = self.session
        return Connector(
            options,
            session.state,
            lambda _: session.provider,
            session.clock,
            self.recorder,
            on_probe=lambda shell, machine: watchdogs.arm_or_warn(
                session, shell, machine, workspace=None
            ),
        )

    def by(self, clock: Clock) -> Room:
        return replace(self, session=replace(self.session, clock=clock))

    def rented(self, *types: str) -> Machine:
        return self.desk.rent(Asked(types or ("g4dn.xlarge",)), REQUEST)

    def reached(self, machine: Machine) -> Machine:
        return self.desk.reached(machine, self.connector.probe)


@pytest.fixture
def room(shared: MotoAws, tmp_path: Path) -> Iterator[Room]:
    recorder = Recorder()
    settings = config.load(
        schema=resources.bundled("config_defaults.yaml"),
        cache_folder=None,
        environ={"GPUCTL_EC2__CONSOLE_LIMIT_S": "0.5"},
        project_folder=tmp_path,
        user_config=tmp_path / "none.yaml",
    )
    session = Session(
        Ec2Provider({REGION: shared.api()}, "ubuntu"),
        State(tmp_path / "state.db"),
        SystemClock(),
        recorder,
    )
    yield Room(shared, settings, session, recorder)
    shared.clear()


def test_an_instance_is_reached_by_the_key_on_its_console_and_its_timer_follows_the_lease(
    room: Room,
) -> None:
    machine = room.reached(room.rented())
    assert ec2_host_keys.origin(room.session, machine) == "console"
    assert room.recorder.said("warn") == []
    found = watchdogs.ensured(room.session, room.connector, machine, workspace=None)
    assert found.why is None
    assert found.remaining_s == pytest.approx(5400, abs=90)
    leases.extended(room.session, machine, leases.Terms(ttl_s=None), 3600.0, None)
    moved = watchdogs.ensured(room.session, room.connector, machine, workspace=None)
    assert moved.why is None, "an extension moves the timer"
    with room.connector.connect(machine) as shell:
        shell.run(["shutdown", "-c"])
    again = watchdogs.ensured(room.session, room.connector, machine, workspace=None)
    assert again.why is None, "one that was taken back is armed again"
    assert again.remaining_s == pytest.approx(5400 + 3600, abs=90)


def test_a_silent_console_means_trust_on_first_use_and_is_said(room: Room) -> None:
    room.aws.fault("ec2-no-console")
    machine = room.reached(room.rented())
    assert "does not tell its host key" in room.recorder.said("warn")[0]
    assert room.session.state.pinned(machine.id) is not None
    assert ec2_host_keys.origin(room.session, machine) == "first use"


def test_another_key_than_that_on_the_console_is_refused_and_the_instance_ended(
    room: Room,
) -> None:
    room.aws.fault("ec2-host-key")
    machine = room.rented()
    with pytest.raises(HostKeyChanged):
        room.reached(machine)
    assert room.aws.running() == []


def test_a_key_pinned_on_first_use_is_held_against_the_console_later(room: Room) -> None:
    machine = room.reached(room.rented())
    other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMz3IKCB9LmAaWBaAANwWl9AHVv2qdbdJtnXmBkNesK3"
    room.session.state.pin(Pin(machine.id, other, str(machine.address), machine.started_at))
    with pytest.raises(HostKeyChanged, match="console"):
        ec2_host_keys.origin(room.session, machine)


@pytest.mark.parametrize(
    ("console", "keys"),
    [
        ("", []),
        ("-----BEGIN SSH HOST KEY KEYS-----\nssh-rsa AAAA root@x\n", []),
        (
            "x\r\n-----BEGIN SSH HOST KEY KEYS-----\r\nssh-rsa BBBB root@x\r\n"
            "ssh-ed25519 CCCC root@x\r\n-----END SSH HOST KEY KEYS-----\r\n",
            ["ssh-ed25519 CCCC", "ssh-rsa BBBB"],
        ),
    ],
)
def test_host_keys_are_read_from_the_console_only_when_they_are_all_there(
    console: str, keys: list[str]
) -> None:
    assert ec2_host_keys.announced(console) == keys


def test_the_sweep_takes_the_first_zone_with_room_and_names_what_was_refused(room: Room) -> None:
    room.aws.fault("ec2-no-capacity", "g4dn", times=2)
    machine = room.rented("g4dn.xlarge", "g5.xlarge")
    assert machine.data_center == "us-east-1b"
    refusals = [text for text in room.recorder.said("note") if "sufficient capacity" in text]
    assert len(refusals) == 2
    outcomes = [intent.outcome for intent in room.session.state.journal()]
    assert outcomes == ["created", "refused: no_capacity", "refused: no_capacity"]


def test_when_no_zone_has_room_every_attempt_is_told(room: Room) -> None:
    room.aws.fault("ec2-no-capacity", times=100)
    with pytest.raises(NoCapacity) as caught:
        room.rented("g4dn.xlarge")
    tried = caught.value.details["tried"]
    assert isinstance(tried, list)
    assert [each["place"] for each in tried][:2] == ["us-east-1", "us-east-1a"]
    assert caught.value.exit_code == 5


def test_an_answer_that_is_lost_leaves_no_second_instance(room: Room) -> None:
    room.aws.fault("ec2-run-500")
    machine = room.rented()
    assert [each["InstanceId"] for each in room.aws.running()] == [machine.id]


def test_an_instance_ends_itself_when_nobody_is_left_to_end_it(tmp_path: Path, room: Room) -> None:
    with moto_aws(tmp_path / "fast", GPUCTL_SIM_MINUTE_MS="20") as fast:
        provider = Ec2Provider({REGION: fast.api()}, "ubuntu")
        alone = replace(room, aws=fast, session=replace(room.session, provider=provider))
        machine = alone.rented()
        until(lambda: fast.api().state(machine.id) == "terminated")
        assert fast.running() == []


def test_the_reaper_ends_what_is_past_its_deadline(room: Room) -> None:
    machine = room.reached(room.rented())
    ec2_launching.handed_over(room.session, machine)
    kept = reaping.reap(room.session, lambda _: Drained())
    assert [verdict.deed for verdict in kept.verdicts] == ["kept"]
    later = room.by(JumpingClock(SystemClock().now() + 5401)).session
    ended = reaping.reap(later, lambda _: Drained())
    assert [verdict.deed for verdict in ended.verdicts] == ["ended"]
    assert ended.is_clear
    assert room.aws.running() == []


def test_the_reaper_ends_what_a_dead_rehearsal_left_without_waiting(room: Room) -> None:
    machine = room.rented()
    _orphan(room, machine)

    def never(_: Machine) -> Drained:
        raise AssertionError("there is nothing to bring home")

    assert [v.deed for v in reaping.reap(room.session, never).verdicts] == ["ended"]
    assert room.aws.running() == []


def test_the_next_start_ends_it_too(room: Room) -> None:
    machine = room.rented()
    _orphan(room, machine)
    assert ec2_ending.settle(room.session) == [machine.name]
    assert room.aws.running() == []
    assert ec2_ending.settle(room.session) == []


def test_an_instance_that_was_handed_over_is_left_alone(room: Room) -> None:
    machine = room.rented()
    _orphan(room, machine)
    ec2_launching.handed_over(room.session, machine)
    assert ec2_ending.settle(room.session) == []
    assert len(room.aws.running()) == 1


def test_an_intent_whose_author_died_before_the_answer_is_found_by_its_tag(room: Room) -> None:
    machine = room.rented()
    state = room.session.state
    intent = state.intent(machine.name)
    assert intent is not None
    state.forget(machine.id)
    state.resolve(machine.name, "", None)
    state.amend(machine.name, lambda detail: {**NOBODY, "lease": _by_nobody(detail["lease"])})
    state._write("UPDATE journal SET outcome = NULL, machine_id = NULL", ())
    assert ec2_ending.settle(room.session) == [machine.name]
    assert room.aws.running() == []


def test_an_end_that_cannot_be_proven_is_exit_code_nine(room: Room) -> None:
    machine = room.rented()
    room.aws.fault("ec2-terminate-ignored", times=1000)
    hurried = room.by(HurriedClock()).session
    with pytest.raises(StillBilling) as caught:
        machines.terminate(hurried, machine)
    assert caught.value.exit_code == 9
    assert "$0.53/h" in caught.value.message


def test_a_rehearsal_that_fails_ends_its_instance_and_says_why(room: Room) -> None:
    with pytest.raises(NotFound, match="cannot be pulled"):
        Rehearsal(room.desk, room.connector, _order()).run(None, lambda _: None)
    assert room.aws.running() == []
    steps = [text.split()[1] for text in room.recorder.said("note") if text[0] in "✓✗"]
    assert steps == ["launch", "ssh", "bootstrap", "pull", "terminate"]
    assert all("¢" in text for text in room.recorder.said("note") if text[0] in "✓✗")


def test_ctrl_c_in_the_middle_ends_the_instance(room: Room) -> None:
    rehearsal = Rehearsal(room.desk, room.connector, _order())

    def interrupted() -> None:
        raise KeyboardInterrupt

    rehearsal.try_out = lambda machine=None: interrupted()  # type: ignore[assignment,return-value,misc]
    with pytest.raises(KeyboardInterrupt):
        rehearsal.run(None, lambda _: None)
    assert room.aws.running() == []


def test_a_rehearsal_whose_instance_resists_says_what_still_bills(room: Room) -> None:
    rehearsal = Rehearsal(room.desk, room.connector, _order())

    def fails() -> None:
        room.aws.fault("ec2-terminate-ignored", times=1000)
        rehearsal._desk = replace(
            rehearsal._desk, session=replace(room.session, clock=HurriedClock())
        )
        raise GpuctlError("something else")

    rehearsal.try_out = lambda machine=None: fails()  # type: ignore[assignment,return-value,misc]
    with pytest.raises(StillBilling) as caught:
        rehearsal.run(None, lambda _: None)
    assert caught.value.exit_code == 9
    assert len(room.aws.running()) == 1


def _order() -> Order:
    return Order(
        request=REQUEST,
        variant="full",
        asked=Asked(("g4dn.xlarge",)),
        digest=None,
        env={"GPUCTL_WORKLOAD": "whisper"},
        section={"model": "small"},
    )


def _orphan(room: Room, machine: Machine) -> None:
    """As if the process that rented it had been killed."""
    room.session.state.amend(machine.name, lambda detail: {"lease": _by_nobody(detail["lease"])})


def _by_nobody(lease: dict[str, object]) -> dict[str, object]:
    import socket

    return {**lease, "deploying": {"pid": 2**22 + 1, "computer": socket.gethostname()}}
