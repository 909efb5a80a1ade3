"""A tunnel that stays: checked before it is offered, opened again after a drop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import NoReturn

from gpuctl.errors import ConnectionFailed, HostKeyChanged, NotFound, UsageError
from gpuctl.models import Report
from gpuctl.remote.base import Shell
from gpuctl.services.jobs import come_back
from gpuctl.services.links import MachineLink
from gpuctl.services.waiting import Clock

_MOST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Ports:
    """`local` 0 = any that is free; it `may_differ` when nobody asked for it by number."""

    local: int
    remote: int
    may_differ: bool = False


def ports(text: str) -> Ports:
    """Reads PORT or LOCAL:PORT. Raises UsageError."""
    local, colon, remote = text.rpartition(":")
    words = (local, remote) if colon else (remote,)
    is_valid = all(word.isascii() and word.isdecimal() for word in words)
    if not is_valid or max(map(int, words)) > _MOST_PORT or int(remote) == 0:
        raise UsageError(
            f"'{text}' is not a port", hint="8188, or 9000:8188 for another port on this side"
        )
    return Ports(int(words[0]), int(remote), may_differ=not colon)


def keep_open(
    link: MachineLink,
    wanted: Ports,
    *,
    clock: Clock,
    limit_s: float,
    report: Report,
    on_open: Callable[[int], None],
) -> NoReturn:
    """Runs until it is interrupted. A dropped connection is made again, at the same local port;
    `on_open` is told that port once.

    Raises NotFound when nothing listens there at the start, UsageError when the local port is
    taken, ConnectionFailed when the machine stayed unreachable for `limit_s`.
    """
    if not link.open().listens(wanted.remote):
        raise NotFound(
            f"nothing listens on port {wanted.remote} of {link.machine.name}",
            hint="start the service there; 127.0.0.1 is enough, it needs no public port",
        )
    is_told = False
    while True:
        try:
            with _forward(link.open(), wanted) as local:
                wanted = replace(wanted, local=local, may_differ=False)
                if is_told:
                    report.note("the tunnel is open again")
                else:
                    on_open(local)
                is_told = True
                _until_lost(link.open())
        except HostKeyChanged:
            raise
        except ConnectionFailed as failure:
            report.warn(f"connection lost ({failure.message}); reconnecting")
            come_back(link, clock=clock, limit_s=limit_s, report=report)


@contextmanager
def _forward(shell: Shell, wanted: Ports) -> Iterator[int]:
    with ExitStack() as stack:
        try:
            local = stack.enter_context(shell.forward(wanted.remote, local_port=wanted.local))
        except OSError as error:
            if not wanted.may_differ:
                raise UsageError(
                    f"port {wanted.local} of this computer cannot be had: {error.strerror}",
                    hint=f"gpuctl tunnel 0:{wanted.remote} takes any that is free",
                ) from error
            local = stack.enter_context(shell.forward(wanted.remote))
        yield local


def _until_lost(shell: Shell) -> NoReturn:
    """A command that waits for input which never comes ends when the connection does."""
    process = shell.start(["cat"])
    try:
        process.read()
    finally:
        process.close()
    raise ConnectionFailed("the machine ended it")
