"""Watches a machine from its creation until it can be used, or until that is hopeless."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from gpuctl.errors import (
    ApiError,
    ConnectionFailed,
    CredentialsError,
    GpuctlError,
    HostKeyChanged,
    NotFound,
)
from gpuctl.models import Machine
from gpuctl.services.diagnosis import Cause, cause_of
from gpuctl.services.session import Session
from gpuctl.services.waiting import wait_for

# Makes one attempt to use the machine; raises ConnectionFailed while it cannot be reached.
Probe = Callable[[Machine], None]

POLL_S = 3.0
DEAD = ("EXITED", "ERROR", "TERMINATED")
# A new pod may answer 404 for so long (runpod.md §2.2).
APPEAR_LIMIT_S = 30.0
# RUNNING without an address for longer than this: no public address will come (§13).
ADDRESS_LIMIT_S = 180.0
# sshd may answer before the start script has put the key in place.
KEY_LIMIT_S = 60.0
LOG_LINES = 12
LOG_QUIET_S = 3.0
LOG_EVERY_S = 15.0
LOG_GLANCE_S = 0.5
# No new line in the system log for so long: it does not come up any more (§13).
STUCK_S = 300.0


class Unusable(GpuctlError):
    """The machine exists, and waiting longer will not make it usable."""

    code = "unusable"


class WrongOrder(GpuctlError):
    """No machine will come up with what was ordered: the image, its registry, the disk."""

    exit_code = 2
    code = "wrong_order"


def until_usable(
    session: Session, machine: Machine, *, limit_s: float, probe: Probe | None
) -> Machine:
    """Waits until the machine runs, has an address and `probe` is content.

    Raises TimedOut after `limit_s`, Unusable when waiting longer is pointless, WrongOrder when any
    other machine would do the same, and what `probe` raises apart from a failed connection.
    Releases nothing.
    """
    boot = _Boot(session, machine, probe)
    return wait_for(
        boot.check,
        timeout_s=limit_s,
        every_s=POLL_S,
        clock=session.clock,
        on_wait=boot.tell,
        what=f"{machine.name} to become usable",
    )


def last_words(
    session: Session,
    machine: Machine,
    *,
    lines: int = LOG_LINES,
    quiet_s: float | None = None,
    source: str = "system",
) -> list[str]:
    """The last lines of the system log: the only explanation of a slow start (runpod.md §2.5)."""
    quiet_s = LOG_QUIET_S if quiet_s is None else quiet_s
    log = session.provider.logs(machine.id, source=source, tail=lines, quiet_s=quiet_s)
    try:
        return [line.text for line in itertools.islice(log, lines)]
    except GpuctlError as error:
        return [f"(the system log could not be read: {error.message})"]


class _Boot:
    """One machine's way up, as seen poll by poll."""

    def __init__(self, session: Session, machine: Machine, probe: Probe | None) -> None:
        self._session = session
        self._machine = machine
        self._probe = probe
        self._began = session.clock.now()
        self._was_seen = False
        self._running_since: float | None = None
        self._refused_since: float | None = None
        self._state = machine.status
        self._log_due_s = LOG_EVERY_S
        self._doing = ""
        self._last_log: list[str] = []
        self._log_since = self._began

    def check(self) -> Machine | None:
        """The machine once it is usable, None while it may still become so."""
        seen = self._look()
        if seen is None:
            return None
        self._state = seen.status
        if seen.status in DEAD:
            self._raise_cause(last_words(self._session, seen))
            raise Unusable(f"{seen.name} went {seen.status} while it started")
        if seen.status != "RUNNING":
            self._running_since = None
            return None
        if seen.address is None:
            self._wait_for_address(seen)
            return None
        return seen if self._answers(seen) else None

    def tell(self, waited_s: float) -> None:
        """Says what is waited for, what it has cost, and what the machine's system does."""
        rate = self._machine.price_usd_h
        spent = f", ${rate * waited_s / 3600:.3f} so far" if rate else ""
        if waited_s >= self._log_due_s:
            self._log_due_s = waited_s + LOG_EVERY_S
            self._doing = self._last_line()
        self._session.report.step(
            f"{self._machine.name}: {self._state.lower()}, {waited_s:.0f} s{spent}{self._doing}"
        )

    def _last_line(self) -> str:
        """An image of many GB is pulled in silence, but for the system log."""
        said = last_words(self._session, self._machine, quiet_s=LOG_GLANCE_S)
        self._raise_cause(said)
        self._check_progress(said)
        return f" · {said[-1][:80]}" if said else ""

    def _check_progress(self, said: list[str]) -> None:
        """A log that stands still for minutes belongs to a machine that does."""
        now = self._session.clock.now()
        if said != self._last_log or not said:
            self._last_log, self._log_since = said, now
        elif now - self._log_since > STUCK_S:
            raise Unusable(
                f"{self._machine.name} is {self._state}, and nothing has happened in its system "
                f"log for {now - self._log_since:.0f} s"
            )

    def _raise_cause(self, said: list[str]) -> None:
        cause = cause_of(said)
        if cause is None:
            return
        self._show_container(cause)
        kind = WrongOrder if cause.is_order else Unusable
        raise kind(
            f"{self._machine.name} does not come up: {cause.text} ({cause.line})", hint=cause.hint
        )

    def _show_container(self, cause: Cause) -> None:
        """What the container said before it ended; a pull that failed has said nothing."""
        if cause.is_order:
            return
        for line in last_words(self._session, self._machine, source="container"):
            self._session.report.note(f"  container log: {line}")

    def _look(self) -> Machine | None:
        """One read. A provider that stumbles is asked again; the boot limit ends it."""
        try:
            seen = self._session.read(self._machine)
        except NotFound:
            age_s = self._session.clock.now() - self._began
            if self._was_seen or age_s > APPEAR_LIMIT_S:
                raise Unusable(f"{self._machine.name} is gone from the provider") from None
            return None
        except ApiError as error:
            if error.status is not None and error.status < 500 and error.status != 429:
                raise
            return None
        self._was_seen = True
        return seen

    def _wait_for_address(self, seen: Machine) -> None:
        self._state = "running, no ssh address yet"
        now = self._session.clock.now()
        self._running_since = now if self._running_since is None else self._running_since
        if now - self._running_since > ADDRESS_LIMIT_S:
            raise Unusable(
                f"{seen.name} runs, and after {ADDRESS_LIMIT_S:.0f} s it still has no public ssh "
                "address"
            )

    def _answers(self, seen: Machine) -> bool:
        if self._probe is None:
            return True
        self._state = "running, waiting for ssh"
        try:
            self._probe(seen)
        except HostKeyChanged:
            raise
        except ConnectionFailed:
            return False
        except CredentialsError:
            now = self._session.clock.now()
            self._refused_since = now if self._refused_since is None else self._refused_since
            if now - self._refused_since > KEY_LIMIT_S:
                raise
            return False
        return True
