"""A connection that is made ahead, in a thread, and never outlives the one who wanted it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, cast

import pytest

from gpuctl.errors import ConnectionFailed
from gpuctl.models import Machine
from gpuctl.services.connections import Connector
from gpuctl.services.links import MachineLink, WorkerOptions
from tests.support.recorder import Recorder

MACHINE = Machine("pod-1", "gpuctl-flux-1", "runpod", "RUNNING")
LIMIT_S = 20.0


class Shell:
    """Knows only whether it was closed."""

    def __init__(self) -> None:
        self.closed = threading.Event()

    def close(self) -> None:
        self.closed.set()


class Dialling:
    """A connector that connects when it is told to, and counts."""

    def __init__(self, answer: Callable[[], Shell]) -> None:
        self.answer = answer
        self.go_on, self.began = threading.Event(), threading.Event()
        self.calls = 0

    def connect(self, machine: Machine) -> Shell:
        assert machine == MACHINE
        self.calls += 1
        self.began.set()
        assert self.go_on.wait(LIMIT_S)
        return self.answer()


def a_link(dialling: Dialling) -> MachineLink:
    options = WorkerOptions(None, "auto", 60)
    return MachineLink(cast(Connector, dialling), MACHINE, options, cast(Any, Recorder()))


def test_dialling_goes_on_while_the_caller_does_something_else_and_happens_once() -> None:
    shell = Shell()
    dialling = Dialling(lambda: shell)
    with a_link(dialling) as link:
        link.dial("flux")
        assert dialling.began.wait(LIMIT_S)
        dialling.go_on.set()
        assert cast(Any, link.open()) is shell
        assert cast(Any, link.open()) is shell
    assert dialling.calls == 1
    assert shell.closed.is_set()


def test_what_dialling_met_is_raised_where_the_shell_is_wanted() -> None:
    def refuse() -> Shell:
        raise ConnectionFailed("nobody answers")

    dialling = Dialling(refuse)
    dialling.go_on.set()
    with a_link(dialling) as link:
        link.dial("flux")
        with pytest.raises(ConnectionFailed, match="nobody answers"):
            link.open()
        # The next attempt is a new one.
        dialling.answer = Shell
        assert link.open() is not None
    assert dialling.calls == 2


def test_a_link_that_is_given_up_while_it_dials_closes_what_comes_of_it() -> None:
    shell = Shell()
    dialling = Dialling(lambda: shell)
    link = a_link(dialling)
    link.dial("flux")
    assert dialling.began.wait(LIMIT_S)
    link.close()
    assert not shell.closed.is_set()
    dialling.go_on.set()
    assert shell.closed.wait(LIMIT_S)
