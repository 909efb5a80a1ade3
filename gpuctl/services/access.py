"""Which machine is meant, and whether it can be entered: address, port, server, key, GPU."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from gpuctl.config import Settings
from gpuctl.errors import (
    ConnectionFailed,
    CredentialsError,
    GpuctlError,
    NotFound,
    TimedOut,
    UsageError,
)
from gpuctl.models import Address, Machine
from gpuctl.services import machines, targets
from gpuctl.services.booting import DEAD, until_usable
from gpuctl.services.connections import Connector
from gpuctl.services.journal import price
from gpuctl.services.session import Session
from gpuctl.services.targets import LOCAL
from gpuctl.services.waiting import wait_for

Found = TypeVar("Found")

SSH_CONFIG = Path("~/.ssh/config")
# So that a dead address is noticed before a person wonders.
DIAL_LIMIT_S = 5.0
HOST_POLL_S = 3.0


@dataclass(frozen=True, slots=True)
class Check:
    """One step on the way in. `detail` is what answered, or why not."""

    name: str
    is_ok: bool
    detail: str
    elapsed_s: float


@dataclass(frozen=True, slots=True)
class Examined:
    """A machine as it is now, and how far one gets. `error` is what the last check met."""

    machine: Machine
    checks: tuple[Check, ...]
    error: GpuctlError | None = None


def choose(text: str | None, settings: Settings, session: Session) -> Machine:
    """The machine that `text` names as `--on` would; without it the configured one, else the only
    one there is (the only one that is not stopped).

    Raises NotFound, UsageError when several could be meant, what the provider raises.
    """
    found = _named(text, settings, session)
    if found is not None:
        return replace(found, workload=found.workload or None)
    known = [machine for machine in session.state.machines() if machine.status != "TERMINATED"]
    if len(known) != 1:
        known = [entry.machine for entry in machines.status(session) if entry.is_ours]
    awake = [machine for machine in known if machine.status not in DEAD]
    if len(awake) == 1 or len(known) == 1:
        return (awake or known)[0]
    if not known:
        raise NotFound("there is no machine", hint="gpuctl deploy")
    names = ", ".join(machine.name for machine in known)
    raise UsageError(f"which machine? There are {names}", hint="give its name")


def _named(text: str | None, settings: Settings, session: Session) -> Machine | None:
    try:
        return targets.resolve(
            text,
            "",  # of no workload: what was used last is not taken for what is meant
            settings=settings,
            memory=session.state,
            provider=lambda _: session.provider,
            ssh_config=SSH_CONFIG.expanduser(),
        )
    except NotFound:
        if text is None:
            raise
        return _by_the_end(text, session)


def _by_the_end(text: str, session: Session) -> Machine:
    """As `stop` and `terminate` find it: the end of a name will do."""
    try:
        return machines.find(session, text)
    except CredentialsError as error:
        raise NotFound(
            f"no machine called '{text}' is known here, and the provider cannot be asked",
            hint=error.hint,
        ) from error


def running(session: Session) -> list[Machine]:
    """Every machine of ours that is not stopped, as the provider lists them now."""
    ours = (entry.machine for entry in machines.status(session) if entry.is_ours)
    return [machine for machine in ours if machine.status not in DEAD]


def current(session: Session, machine: Machine) -> Machine:
    """The machine as the provider sees it now, stored; a plain host is as it was."""
    return machine if machine.provider == "host" else machines.refresh(session, machine)


def examine(connector: Connector, machine: Machine) -> Examined:
    """Goes in step by step, as far as it goes: address, port, ssh server, login, GPU."""
    way = _Way()
    try:
        _enter(way, connector, machine)
    except GpuctlError as reason:
        return Examined(machine, tuple(way.checks), reason)
    return Examined(machine, tuple(way.checks))


def wait_until_usable(
    session: Session, connector: Connector, machine: Machine, *, limit_s: float
) -> Machine:
    """Waits until somebody can work on the machine. Starts nothing and releases nothing.

    Raises TimedOut, saying what it still costs; Unusable when waiting longer is pointless.
    """
    try:
        if machine.provider == "host":
            return _wait_for_host(session, connector, machine, limit_s)
        seen = machines.refresh(session, machine)
        if seen.status in DEAD:
            raise ConnectionFailed(
                f"{seen.name} is {seen.status}: waiting does not start it",
                hint=f"gpuctl start {seen.name}",
            )
        return until_usable(session, seen, limit_s=limit_s, probe=connector.probe)
    except TimedOut as late:
        raise TimedOut(
            f"{machine.name} was not usable within {limit_s:g} s; it was left as it is, "
            f"{price(machine)}",
            hint=f"gpuctl logs {machine.name} --source system, or gpuctl terminate {machine.name}",
        ) from late


def _wait_for_host(
    session: Session, connector: Connector, machine: Machine, limit_s: float
) -> Machine:
    def usable() -> Machine | None:
        try:
            connector.connect(machine).close()
        except ConnectionFailed as failure:
            session.report.step(f"{machine.name}: {failure.message}")
            return None
        return machine

    return wait_for(
        usable, timeout_s=limit_s, every_s=HOST_POLL_S, clock=session.clock, what=machine.name
    )


@dataclass(slots=True)
class _Way:
    """Times each step and keeps what came of it."""

    checks: list[Check] = field(default_factory=list)

    def step(
        self, name: str, action: Callable[[], Found], tell: Callable[[Found], str] = str
    ) -> Found:
        began = time.perf_counter()
        try:
            found = action()
        except GpuctlError as error:
            self._keep(name, False, error.message, began)
            raise
        self._keep(name, True, tell(found), began)
        return found

    def _keep(self, name: str, is_ok: bool, detail: str, began: float) -> None:
        self.checks.append(Check(name, is_ok, detail, round(time.perf_counter() - began, 4)))


def _enter(way: _Way, connector: Connector, machine: Machine) -> None:
    from gpuctl.remote import probes, reachability  # noqa: PLC0415  only when something is dialled

    if machine.id != LOCAL and not _is_proxied(machine):
        address = way.step("address", lambda: _address(machine))
        sock = way.step(
            "port", lambda: reachability.dial(address, DIAL_LIMIT_S), lambda _: "is open"
        )
        with sock:
            way.step("server", lambda: reachability.banner(sock, address))
    shell = way.step("login", lambda: connector.connect(machine), lambda _: "accepted")
    with shell:
        way.step("gpu", lambda: probes.GPUS.ask(shell), _gpus)


def _address(machine: Machine) -> Address:
    if machine.address is None:
        is_stopped = machine.status in DEAD
        raise ConnectionFailed(
            f"{machine.name} is {machine.status} and has no ssh address",
            hint=f"gpuctl {'start' if is_stopped else 'wait'} {machine.name}",
        )
    return machine.address


def _is_proxied(machine: Machine) -> bool:
    """A host behind a jump host has no port to dial from here."""
    if machine.provider != "host":
        return False
    from gpuctl.remote.ssh_config import resolve  # noqa: PLC0415  plain hosts only

    return resolve(machine.id, SSH_CONFIG.expanduser()).proxy_command is not None


def _gpus(names: tuple[str, ...]) -> str:
    return ", ".join(f"{names.count(name)} × {name}" for name in dict.fromkeys(names)) or "none"
