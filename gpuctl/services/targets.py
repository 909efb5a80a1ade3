"""Finds the machine that `--on` means, or the one a command without `--on` should use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from gpuctl.errors import CredentialsError, NotFound
from gpuctl.models import Address, Machine

if TYPE_CHECKING:
    from gpuctl.config import Settings
    from gpuctl.providers.base import Provider

LOCAL = "local"
SHORT_LETTERS = 6


def short_name(name: str) -> str:
    """`flux-7dyd0z` for gpuctl-flux-01jz…7dyd0z; any other name as it is."""
    parts = name.split("-")
    is_ours = len(parts) == 3 and parts[0] == "gpuctl" and len(parts[2]) > SHORT_LETTERS
    return f"{parts[1]}-{parts[2][-SHORT_LETTERS:]}" if is_ours else name


class Memory(Protocol):
    """The part of State that finding a machine needs."""

    def machine(self, id_or_name: str) -> Machine | None: ...
    def machines(self, workload: str | None = None) -> list[Machine]: ...
    def remember(self, machine: Machine) -> None: ...


def resolve(
    on: str | None,
    workload: str,
    *,
    settings: Settings,
    memory: Memory,
    provider: Callable[[str], Provider],
    ssh_config: Path,
) -> Machine | None:
    """The machine for `on`: local, user@host[:port], a machine's id or name, a workload's name, or
    an alias of ~/.ssh/config. Without `on`: the configured pod, else the workload's machine that
    was seen last. None when there is none and nothing was asked for by name.

    Raises NotFound for a name that nobody knows, UsageError for a malformed address.
    """
    if on is None:
        return _configured(workload, settings, memory) or _latest(workload, memory)
    if on == LOCAL:
        return local_machine()
    if "@" in on:
        return _host(on, ssh_config)
    found = memory.machine(on) or _latest(on, memory) or _short(on, memory)
    if found is None and _is_alias(on, ssh_config):
        return _host(on, ssh_config)
    return found or _asked(on, memory, provider)


def _configured(workload: str, settings: Settings, memory: Memory) -> Machine | None:
    pod_id = settings.text_or_none("runpod.pod_id")
    host = settings.text_or_none("runpod.host")
    address = Address(host, settings.integer_or_none("runpod.port") or 22) if host else None
    if pod_id is None:
        return host_machine(address) if address else None
    known = memory.machine(pod_id)
    return known or Machine(
        id=pod_id,
        name=pod_id,
        provider="runpod",
        status="UNKNOWN",
        address=address,
        workload=workload,
    )


def _latest(workload: str, memory: Memory) -> Machine | None:
    machines = [m for m in memory.machines(workload) if m.status != "TERMINATED"]
    running = [m for m in machines if m.status == "RUNNING"]
    return next(iter(running or machines), None)


def _short(text: str, memory: Memory) -> Machine | None:
    fits = [machine for machine in memory.machines() if text == short_name(machine.name)]
    return fits[0] if len(fits) == 1 else None


def _host(text: str, ssh_config: Path) -> Machine:
    from gpuctl.remote.ssh_config import resolve as resolve_host  # noqa: PLC0415  for hosts only

    return host_machine(resolve_host(text, ssh_config).address, text)


def _is_alias(text: str, ssh_config: Path) -> bool:
    from gpuctl.remote.ssh_config import knows  # noqa: PLC0415  for hosts only

    return knows(text, ssh_config)


def _asked(on: str, memory: Memory, provider: Callable[[str], Provider]) -> Machine:
    """Machines that this computer has not seen yet, made in the console or elsewhere."""
    try:
        listed = provider("runpod").list()
    except CredentialsError:
        listed = []
    for machine in listed:
        if on in (machine.id, machine.name, short_name(machine.name)):
            memory.remember(machine)
            return machine
    raise unknown_machine(on, [m.name for m in (*memory.machines(), *listed)])


def none_for(workload: str) -> NotFound:
    """The error of a command that found no machine, and no endpoint, to work on."""
    from gpuctl.workloads import WORKLOADS  # noqa: PLC0415  only on the way out

    module = WORKLOADS[workload]
    is_queued = module.PLACE == "endpoint"
    made = f"deploy {workload}" + (" --serverless" if is_queued else "")
    return NotFound(
        f"there is no {'endpoint' if is_queued else 'machine'} for {workload} yet",
        hint=f"gpuctl {made}   (or try it without an account: gpuctl --sim {module.EXAMPLE})",
    )


def name_for(machine: Machine) -> str:
    """What `--on` would be given to reach this machine again."""
    return machine.id if machine.provider == "host" else machine.name


def host_machine(address: Address, asked: str | None = None) -> Machine:
    """A plain ssh host as a machine. Its id is what was asked for (an alias, user@host:port), so
    that ~/.ssh/config can be read again; what it costs is not known."""
    name = f"{address.host}:{address.port}" if address.port != 22 else address.host
    machine_id = asked if asked and "@" not in asked else str(address)
    return Machine(id=machine_id, name=name, provider="host", status="RUNNING", address=address)


def service_at(url: str, workload: str) -> Machine:
    """A service that is known by its address alone, as a machine."""
    return Machine(id=url, name=url, provider="service", status="RUNNING", workload=workload)


def local_machine() -> Machine:
    return Machine(id=LOCAL, name="this computer", provider="host", status="RUNNING")


def unknown_machine(text: str, known: list[str]) -> NotFound:
    from difflib import get_close_matches  # noqa: PLC0415  only on the way out

    near = get_close_matches(text, known, n=1)
    return NotFound(
        f"there is no machine called '{text}'",
        hint=f"did you mean {near[0]}?" if near else "gpuctl status lists the machines",
    )
