"""What machines do, cost and end by, as text and as data: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gpuctl.commands.machine_text import machine_data, machine_line
from gpuctl.commands.render import money, seconds, table
from gpuctl.models import Json, Machine
from gpuctl.services.killers import Guarded
from gpuctl.services.machines import Listed
from gpuctl.services.targets import short_name

NOT_OURS = " *"
_MAKERS = ("NVIDIA GeForce ", "NVIDIA ", "AMD Instinct ", "AMD ")


@dataclass(frozen=True, slots=True)
class Look:
    """The machines at one instant (Unix seconds): leases, USD so far, and USD an hour of those that
    are stopped, by machine id."""

    listed: Sequence[Listed]
    held: Mapping[str, Guarded]
    usd: Mapping[str, float]
    now: float
    unresolved: Sequence[Json] = field(default=())
    stopped_usd_h: Mapping[str, float] = field(default_factory=dict)

    @property
    def usd_h(self) -> float:
        return sum(self.rate_usd_h(entry.machine) or 0.0 for entry in self.listed)

    def rate_usd_h(self, machine: Machine) -> float | None:
        """What it is billed an hour: its GPU, or its volume while it is stopped."""
        stored = self.stopped_usd_h.get(machine.id)
        return stored if machine.status == "EXITED" and stored else machine.price_usd_h

    def doubts(self) -> list[str]:
        """Every killer that cannot be relied on, and budgets nearly spent."""
        return [doubt for found in self.held.values() for doubt in found.doubts(self.now)]


def look_data(look: Look) -> Json:
    machines = [{**one_data(look, entry.machine), "ours": entry.is_ours} for entry in look.listed]
    return {"machines": machines, "usd_h": look.usd_h, "unresolved": list(look.unresolved)}


def one_data(look: Look, machine: Machine) -> Json:
    """A machine with its lease and cost; one that is not ours has neither."""
    found = look.held.get(machine.id)
    lease = None if found is None else found.as_json(look.now)
    money_now = {"rate_usd_h": look.rate_usd_h(machine), "usd_so_far": look.usd.get(machine.id)}
    return {**machine_data(machine), "lease": lease, **money_now}


def look_text(look: Look) -> str:
    """A table that fits 100 columns for usual values; the rest is in the view of one machine."""
    if not look.listed:
        return "no machines; nothing is billed by the hour"
    head = ("name", "status", "gpu", "use/mem", "$/h", "so far", "lease", "ssh")
    lines = [table(head, [_row(look, entry) for entry in look.listed])]
    lines.append(f"{money(look.usd_h, 3 if look.usd_h < 0.1 else 2)}/h in all")
    if any(not entry.is_ours for entry in look.listed):
        lines.append("* not made by gpuctl")
    if any(entry.machine.status == "EXITED" for entry in look.listed):
        lines.append("a stopped machine is billed for its volume alone: $0.20 per GB and month")
    return "\n".join([*lines, *look.doubts()])


def one_text(look: Look, machine: Machine) -> str:
    """Everything of one machine."""
    lines = [machine_line(machine)]
    if machine.gpu_util_percent is not None:
        lines.append(f"GPU use {use(machine)} (computing / memory), up {seconds(machine.uptime_s)}")
    if machine.id in look.usd:
        lines.append(f"{_usd(look, machine)} so far, storage included")
    found = look.held.get(machine.id)
    if found is not None:
        lines.append(f"lease {found.words(look.now)}")
    return "\n".join([*lines, *machine.urls, *look.doubts()])


def change_line(look: Look, entry: Listed) -> str:
    """What is new about a machine, in one line."""
    machine = entry.machine
    ssh = f", {machine.address}" if machine.address else ""
    return (
        f"{short_name(machine.name)} is {machine.status}, GPU {use(machine)}, "
        f"{_rate(look, machine)}/h, {_usd(look, machine)} so far{ssh}"
    )


def use(machine: Machine) -> str:
    """`73/41 %`: how busy the cards are, and how much of their memory is taken."""
    util, memory = machine.gpu_util_percent, machine.gpu_memory_percent
    if util is None:
        return "—"
    return f"{util:.0f}/{'?' if memory is None else f'{memory:.0f}'} %"


def _row(look: Look, entry: Listed) -> tuple[str, ...]:
    machine = entry.machine
    found, address = look.held.get(machine.id), machine.address
    return (
        short_name(machine.name) + ("" if entry.is_ours else NOT_OURS),
        machine.status,
        _gpu(machine),
        use(machine),
        _rate(look, machine),
        _usd(look, machine),
        "—" if found is None else found.words(look.now),
        f"{address.host}:{address.port}" if address else "—",
    )


def _rate(look: Look, machine: Machine) -> str:
    rate = look.rate_usd_h(machine)
    return money(rate, 3 if machine.status == "EXITED" and rate else 2)


def _usd(look: Look, machine: Machine) -> str:
    usd = look.usd.get(machine.id)
    return "—" if usd is None else money(usd, 2 if usd >= 1 else 3)


def _gpu(machine: Machine) -> str:
    if machine.gpu is None:
        return "—"
    maker = next((word for word in _MAKERS if machine.gpu.startswith(word)), "")
    name = machine.gpu.removeprefix(maker)
    return name if machine.gpu_count == 1 else f"{machine.gpu_count} × {name}"
