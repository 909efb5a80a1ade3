"""The rehearsal: an image is pulled, started and tried on a rented GPU, which then surely ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from gpuctl.errors import GpuctlError, StillBilling, TimedOut, ValidationFailed
from gpuctl.images import references
from gpuctl.models import Json, Machine
from gpuctl.remote import containers, probes
from gpuctl.remote.base import Shell
from gpuctl.services import (
    ec2_host_keys,
    ec2_launching,
    ec2_logs,
    interrupts,
    leases,
    machines,
    validation_checks,
)
from gpuctl.services.connections import Connector
from gpuctl.services.ec2_desk import Desk
from gpuctl.services.session import Session
from gpuctl.services.validation_checks import Evidence, Reach
from gpuctl.services.validation_orders import Order
from gpuctl.services.validation_phases import Phases
from gpuctl.services.waiting import wait_for

BOOTSTRAP = 'cat "${GPUCTL_ROOT:-}/var/lib/gpuctl/bootstrap" 2>/dev/null; :'
BOOTSTRAP_LIMIT_S = 300.0
BOOTSTRAP_POLL_S = 2.0
LOG_LINES = 15


@dataclass(slots=True)
class Result:
    """What a rehearsal showed. `usd` is its cost so far; `host_key` says where it is known from."""

    phases: Phases
    evidence: list[Evidence] = field(default_factory=list)
    machine: Machine | None = None
    kind: str = ""
    digest: str = ""
    driver: str = ""
    gpu: str = ""
    host_key: str = ""
    usd: float | None = None
    error: GpuctlError | None = None

    @property
    def is_passed(self) -> bool:
        return self.error is None and bool(self.evidence) and all(e.is_ok for e in self.evidence)


class Rehearsal:
    """One run. `existing` is an instance that is there already and shall be used."""

    def __init__(self, desk: Desk, connector: Connector, order: Order) -> None:
        self._desk = desk
        self._connector = connector
        self._order = order
        session = desk.session
        self.result = Result(Phases(session.clock, session.report, self._spent))

    @property
    def _session(self) -> Session:
        return self._desk.session

    def run(self, existing: Machine | None, on_result: Callable[[Result], object]) -> Result:
        """Everything from the launch to the end of the instance; `on_result` is told what was seen
        before the instance ends, so that no end can lose it.

        Whatever happens, the instance is ended and its end read back, unless the order keeps it.
        Raises ValidationFailed, StillBilling, what launching raises.
        """
        with self._ended_at_the_end():
            self._launch(existing)
            self.try_out()
            on_result(self.result)
            if self.result.error is not None:
                raise self.result.error
        return self.result

    def try_out(self, machine: Machine | None = None) -> Result:
        """Bootstrap, pull, run and every check on an instance that is reached.

        A check that fails is in the result's `error`; raises what else went wrong.
        """
        if machine is not None:
            self._created(machine)
        self._bootstrap()
        with self._shell() as shell:
            self._pull(shell)
            self._start(shell)
            try:
                self._check(shell)
            except ValidationFailed as error:
                self._show_log(shell)
                self.result.error = error
        self.result.usd = self._spent()
        return self.result

    @contextmanager
    def _ended_at_the_end(self) -> Iterator[None]:
        """Raises StillBilling in place of whatever was raised, when the end is not proven."""
        try:
            yield
        except BaseException:
            self._leave()
            raise
        self._leave()

    def _leave(self) -> None:
        machine = self.result.machine
        if machine is None or self._session.state.machine(machine.id) is None:
            return  # nothing was rented, or it was ended where it failed
        if self._order.is_kept:
            ec2_launching.handed_over(self._session, machine)
            self._session.report.warn(f"{machine.name} goes on until its deadline, and bills")
            return
        try:
            with self.result.phases.phase("terminate"), interrupts.held(self._session.report):
                machines.terminate(self._session, machine)
        except KeyboardInterrupt:
            if self._session.state.machine(machine.id) is None:
                raise
            raise StillBilling(
                f"interrupted before the end of {machine.name} ({machine.id}) was confirmed",
                hint=f"gpuctl ec2 terminate {machine.id}",
                details={"machine": machine.id, "name": machine.name},
            ) from None

    def _launch(self, existing: Machine | None) -> None:
        with self.result.phases.phase("launch") as phase:
            if existing is None:
                machine = self._desk.rent(self._order.asked, self._order.request, self._created)
            else:
                machine = existing
                self._created(existing)
                ec2_launching.taken_back(self._session, existing)
            phase.detail = f"{machine.gpu}, {machine.data_center}"
        with self.result.phases.phase("ssh") as phase:
            self.result.machine = self._desk.reached(machine, self._connector.probe)
            phase.detail = str(self.result.machine.address)

    def _created(self, machine: Machine) -> None:
        self.result.machine = machine
        intent = self._session.state.intent(machine.name)
        offer = (intent.detail.get("offer") if intent else None) or {}
        self.result.kind = str(offer.get("gpu_id", ""))

    def _bootstrap(self) -> None:
        with self.result.phases.phase("bootstrap") as phase, self._shell() as shell:
            phase.detail = self._until_bootstrapped(shell)
            self.result.host_key = ec2_host_keys.origin(self._session, self._machine)
            cards = probes.GPU_USE.ask(shell)
            self.result.gpu, self.result.driver = cards[0].name, cards[0].driver

    def _until_bootstrapped(self, shell: Shell) -> str:
        def said() -> str | None:
            return shell.run(["sh", "-c", BOOTSTRAP]).stdout.strip() or None

        try:
            word = wait_for(
                said,
                timeout_s=BOOTSTRAP_LIMIT_S,
                every_s=BOOTSTRAP_POLL_S,
                clock=self._session.clock,
                what="the instance's own set-up",
            )
        except TimedOut as error:
            raise TimedOut(error.message, hint="gpuctl ec2 logs --console") from error
        if word != "ready":
            raise ValidationFailed(f"the instance is not fit: {word}", hint="ec2.ami_parameter")
        return word

    def _pull(self, shell: Shell) -> None:
        image = self._order.image
        with self.result.phases.phase("pull") as phase:
            if self._order.is_pulled or not containers.is_there(shell, image):
                with self._logged_in(shell):
                    lines: list[str] = []
                    containers.pull(shell, image, lambda line: self._tell(image, lines, line))
            self.result.digest = containers.digest(shell, image)
            phase.detail = f"{image.partition('@')[0]} {self.result.digest[:19]}"
        if self._order.digest not in (None, self.result.digest):
            raise ValidationFailed(
                f"docker there has {self.result.digest}, but {self._order.digest} was pushed",
                hint="gpuctl ec2 validate --pull",
            )

    @contextmanager
    def _logged_in(self, shell: Shell) -> Iterator[None]:
        """As the configured account, while the image is pulled and no longer."""
        if self._order.login is None:
            yield
            return
        name = references.parsed(self._order.image).registry
        registry = None if name == references.DOCKER_HUB else name
        containers.login(shell, *self._order.login, registry)
        try:
            yield
        finally:
            containers.logout(shell, registry)

    def _tell(self, image: str, lines: list[str], line: str) -> None:
        lines.append(line)
        layers = sum("Pull complete" in each for each in lines)
        self._session.report.step(f"pulling {image}: {layers} layers are here")

    def _start(self, shell: Shell) -> None:
        name = ec2_logs.container_name(self._order.workload)
        with self.result.phases.phase("run") as phase:
            phase.detail = containers.run(shell, name, self._order.image, self._order.env)[:12]

    def _check(self, shell: Shell) -> None:
        with ExitStack() as stack:
            ports: dict[int, int] = {}

            def port(number: int) -> int:
                if number not in ports:
                    ports[number] = stack.enter_context(shell.forward(number))
                return ports[number]

            ready_limit_s = self._desk.settings.number("ec2.ready_limit_s")
            session = self._session
            reach = Reach(port, session.clock, session.report, self._order.section, ready_limit_s)
            for name, check in validation_checks.of(self._order.workload).items():
                with self.result.phases.phase(name) as phase:
                    seen = validation_checks.looked(name, check, reach)
                    phase.detail = seen.detail
                    self.result.evidence.append(seen)
                    validation_checks.refuse([seen])

    def _show_log(self, shell: Shell) -> None:
        name = ec2_logs.container_name(self._order.workload)
        try:
            for line in containers.logs(shell, name, LOG_LINES):
                self._session.report.note(f"  container: {line}")
        except GpuctlError as error:
            self._session.report.note(f"  (the container's log cannot be read: {error.message})")

    def _shell(self) -> Shell:
        return self._connector.connect(self._machine)

    @property
    def _machine(self) -> Machine:
        assert self.result.machine is not None
        return self.result.machine

    def _spent(self) -> float | None:
        machine = self.result.machine
        lease = leases.of(self._session, machine) if machine else None
        if lease is None or lease.spending is None:
            return None
        return lease.spending.at(self._session.clock.now())


def as_data(result: Result) -> Json:
    """The result for scripts, passed or not."""
    return {
        "passed": result.is_passed,
        "digest": result.digest,
        "phases": [phase.as_json() for phase in result.phases.done],
        "checks": [one.as_json() for one in result.evidence],
        "usd": result.usd,
        "error": None if result.error is None else result.error.message,
    }
