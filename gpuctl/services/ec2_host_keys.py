"""Whom one talks to: the host key that an instance prints on its console, pinned before ssh."""

from __future__ import annotations

from collections.abc import Callable

from gpuctl.errors import ConnectionFailed, GpuctlError, HostKeyChanged
from gpuctl.models import Machine, Pin
from gpuctl.providers.ec2 import Ec2Provider
from gpuctl.services.booting import Probe
from gpuctl.services.session import Session

BEGIN, END = "-----BEGIN SSH HOST KEY KEYS-----", "-----END SSH HOST KEY KEYS-----"
FIRST_USE, CONSOLE = "first use", "console"
# The type that is asked for first; EC2's images print all of theirs.
_PREFERRED = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa")


def announced(console: str) -> list[str]:
    """The keys that cloud-init printed, best type first, as `<type> <base64>`."""
    lines = [line.strip() for line in console.splitlines()]
    if BEGIN not in lines or END not in lines:
        return []
    begin = len(lines) - lines[::-1].index(BEGIN)
    block = lines[begin : begin + lines[begin:].index(END)] if END in lines[begin:] else []
    keys = [" ".join(line.split()[:2]) for line in block if len(line.split()) > 1]
    known = [key for key in keys if key.split()[0] in _PREFERRED]
    return sorted(known, key=lambda key: _PREFERRED.index(key.split()[0]))


def checked(session: Session, probe: Probe, *, patience_s: float) -> Probe:
    """`probe`, which first waits up to `patience_s` for the console to tell the host key.

    Silence for longer means trust on first use, which is said aloud.
    """
    began: list[float] = []

    def attempt(machine: Machine) -> None:
        began.append(session.clock.now())
        if not pin_announced(session, machine) and session.state.pinned(machine.id) is None:
            if session.clock.now() - began[0] < patience_s:
                raise ConnectionFailed("its console has not told its host key yet")
            session.report.warn(
                f"the console of {machine.name} does not tell its host key: the first one that is "
                "shown is pinned"
            )
        probe(machine)

    return attempt


def pin_announced(session: Session, machine: Machine) -> bool:
    """Pins what the console says. False while it says nothing. Raises HostKeyChanged when another
    key is pinned than any of those."""
    keys = announced(_console(session, machine))
    if not keys:
        return False
    pinned = session.state.pinned(machine.id)
    if pinned is None:
        session.state.pin(Pin(machine.id, keys[0], str(machine.address), machine.started_at))
    elif " ".join(pinned.key.split()[:2]) not in keys:
        raise HostKeyChanged(
            f"{machine.name} showed a host key over ssh that its console does not have",
            hint="somebody may be in between: gpuctl ec2 terminate",
        )
    return True


def origin(session: Session, machine: Machine) -> str:
    """Where the pinned key is known from, checked again now."""
    return CONSOLE if pin_announced(session, machine) else FIRST_USE


def _console(session: Session, machine: Machine) -> str:
    """A console that cannot be read is one that says nothing."""
    provider = session.provider
    if not isinstance(provider, Ec2Provider):
        return ""
    ask: Callable[[str], str] = provider.console
    try:
        return ask(machine.id)
    except GpuctlError:
        return ""
