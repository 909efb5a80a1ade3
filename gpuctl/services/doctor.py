"""Runs independent checks side by side: one that fails or hangs never hides the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from gpuctl.clients import fetching
from gpuctl.clients.http import Http
from gpuctl.clients.runpod_api import RunpodApi
from gpuctl.config import Settings
from gpuctl.errors import ConfigError, GpuctlError
from gpuctl.models import Machine, Need, Secret
from gpuctl.providers.base import Provider
from gpuctl.remote.base import Shell
from gpuctl.services.findings import Finding, fail
from gpuctl.services.waiting import Clock

if TYPE_CHECKING:
    from gpuctl.state import State  # sqlite, 10 ms: not for `--help`

Item = TypeVar("Item")

# What a check of a strange computer may raise besides our own errors. A defect of a check is a
# finding as well: the operator needs the others.
BREAKAGE = (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError)
# gpuctl/__main__.py knows threads by this name.
THREAD = "check-"
PROXY_URL = "https://{pod}-{port}.proxy.runpod.net/"


@dataclass(frozen=True)
class Bench:
    """What the checks look at. `config_error` stands when `settings` are the defaults alone."""

    settings: Settings
    environ: Mapping[str, str]
    folder: Path
    home: Path
    state: State
    ssh_key: Path
    api_url: str
    api_key: Secret | None
    provider: Provider
    need: Need
    clock: Clock
    connect: Callable[[Machine], Shell]
    config_error: ConfigError | None = None
    is_sim: bool = False
    fixes: bool = False
    timeout_s: float = 10.0
    proxy_url: str = PROXY_URL
    sleep: Callable[[float], object] = field(default=threading.Event().wait)

    @property
    def api(self) -> RunpodApi:
        """A client of its own for each check: none waits for another."""
        return RunpodApi(
            Http(self.api_url, key=self.api_key, timeout_s=self.timeout_s, sleep=self.sleep)
        )


Look = Callable[[Bench], Sequence[Finding]]


@dataclass(frozen=True, slots=True)
class Check:
    """`look` tells everything it found; it is given up after `limit_s` seconds."""

    name: str
    look: Look
    limit_s: float = 15.0


def run(
    bench: Bench, checks: Sequence[Check], *, on_done: Callable[[int], None] | None = None
) -> list[Finding]:
    """Every finding, in the order of `checks`. Never raises for what a check meets.

    A check that is given up goes on in a thread that ends with the process; it can only read.
    """
    fetching.load()
    pending = [_Pending(check, bench) for check in checks]
    found: list[Finding] = []
    for number, one in enumerate(pending, 1):
        found += one.findings()
        if on_done is not None:
            on_done(number)
    return found


def side_by_side(
    look: Callable[[Item], Sequence[Finding]], items: Sequence[Item], most: int
) -> list[Finding]:
    """What `look` says of each item, in order, `most` at a time.

    Like the checks, in threads that end with the process: a pool of the standard library would
    keep Ctrl-C waiting for the slowest. `look` must not raise.
    """
    found: dict[int, Sequence[Finding]] = {}

    def one(number: int) -> None:
        found[number] = look(items[number])

    for start in range(0, len(items), most):
        numbers = range(start, min(start + most, len(items)))
        threads = [
            threading.Thread(target=one, args=(n,), daemon=True, name=f"{THREAD}item")
            for n in numbers
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return [finding for number in range(len(items)) for finding in found.get(number, ())]


class _Pending:
    """One check under way."""

    def __init__(self, check: Check, bench: Bench) -> None:
        self._check = check
        self._bench = bench
        self._deadline = time.monotonic() + check.limit_s
        self._done = threading.Event()
        # Stands when the check dies of something nobody foresaw: silence would pass for health.
        self._found: Sequence[Finding] = (fail(check.name, "the check ended without an answer"),)
        threading.Thread(target=self._look, name=f"{THREAD}{check.name}", daemon=True).start()

    def findings(self) -> Sequence[Finding]:
        if self._done.wait(max(0.0, self._deadline - time.monotonic())):
            return self._found
        return [fail(self._check.name, f"no answer within {self._check.limit_s:g} s")]

    def _look(self) -> None:
        name = self._check.name
        try:
            self._found = list(self._check.look(self._bench))
        except GpuctlError as error:
            self._found = [fail(name, error.message, error.hint)]
        except BREAKAGE as error:
            self._found = [fail(name, f"cannot be checked: {type(error).__name__}: {error}")]
        finally:
            self._done.set()
