"""A session on a loopback provider, and orders for it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpuctl.clients.http import Http
from gpuctl.clients.runpod_api import RunpodApi
from gpuctl.models import Need, Secret
from gpuctl.providers.runpod import RunpodProvider
from gpuctl.services.deploy import Order
from gpuctl.services.session import Session
from gpuctl.state import State
from tests.support.clock import JumpingClock
from tests.support.recorder import Recorder

NEED = Need(image="img", vram_gb=24, disk_gb=30, volume_gb=80)


@dataclass(frozen=True, slots=True)
class Rental:
    session: Session
    state: State
    report: Recorder
    clock: JumpingClock

    def outcomes(self) -> list[str | None]:
        return [intent.outcome for intent in reversed(self.state.journal())]


@contextmanager
def rental(
    url: str, folder: Path, key: Secret | None = None, clock: JumpingClock | None = None
) -> Iterator[Rental]:
    clock = clock or JumpingClock(time.time())
    http = Http(url, key=key or Secret("rpa_0123456789"), timeout_s=10, sleep=clock.sleep)
    provider = RunpodProvider(RunpodApi(http))
    report = Recorder()
    state = State(folder / "state.db", now=clock.now)
    yield Rental(Session(provider, state, clock, report), state, report, clock)
    provider.close()


def an_order(**changes: Any) -> Order:
    return Order(**{"workload": "flux", "need": NEED, "public_key": "ssh-ed25519 A", **changes})
