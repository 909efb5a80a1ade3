"""A machine that nobody rents out: any ssh host, named by its address."""

# ruff: noqa: ARG002  a plain host has no use for most of what the protocol hands over
from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NoReturn

from gpuctl.errors import UsageError
from gpuctl.models import Address, Json, Machine, MachineRequest, Need, Offer, Secret
from gpuctl.providers.base import LogLine

NAME = "host"
_ADDRESS = re.compile(
    r"(?:(?P<user>[^@\s]+)@)?(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<host>[^@:\s]+))(?::(?P<port>\d+))?"
)


def connect(
    *, api_url: str, api_key: Secret | None, timeout_s: float, sleep: Callable[[float], object]
) -> HostProvider:
    """Needs none of the values every provider is given."""
    del api_url, api_key, timeout_s, sleep
    return HostProvider()


def parse(text: str) -> Address:
    """`[user@]host[:port]`, IPv6 in brackets. Raises UsageError."""
    match = _ADDRESS.fullmatch(text.strip())
    port = int(match["port"] or 22) if match else 0
    if match is None or not 0 < port < 65536:
        raise UsageError(f"'{text}' is not user@host[:port]")
    return Address(match["v6"] or match["host"], port, match["user"] or "root")


class HostProvider:
    """The Provider protocol for what already runs: it can be looked at, never billed."""

    name = NAME

    def offers(self, need: Need, *, cloud: str, gpu_count: int) -> list[Offer]:
        return []

    def body(self, request: MachineRequest, offer: Offer) -> Json:
        return _refused("created")

    def create(self, request: MachineRequest, offer: Offer) -> Machine:
        return _refused("created")

    def get(self, machine_id: str) -> Machine:
        address = parse(machine_id)
        name = f"{address.host}:{address.port}" if address.port != 22 else address.host
        return Machine(id=str(address), name=name, provider=NAME, status="RUNNING", address=address)

    def list(self) -> list[Machine]:
        return []

    def start(self, machine_id: str) -> Machine:
        return _refused("started")

    def stop(self, machine_id: str) -> Machine:
        return _refused("stopped")

    def restart(self, machine_id: str) -> Machine:
        return _refused("restarted")

    def terminate(self, machine_id: str) -> None:
        _refused("terminated")

    def logs(
        self,
        machine_id: str,
        *,
        source: str | None,
        tail: int,
        quiet_s: float | None = None,
        since: str | None = None,
        after: str | None = None,
    ) -> Iterator[LogLine]:
        return iter(())

    def volume_data_center(self, volume_id: str) -> str:
        return _refused("given a volume")


def _refused(what: str) -> NoReturn:
    raise UsageError(f"a plain ssh host is not {what} by gpuctl", hint="gpuctl status")
