"""Machines, offers and plans as text and as data: pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from gpuctl.commands.render import money, table
from gpuctl.models import Json, Machine, Offer
from gpuctl.services import leases
from gpuctl.services.deploy import Plan
from gpuctl.services.machines import Listed

if TYPE_CHECKING:
    from gpuctl.services.killers import Guarded

_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)


def machine_data(machine: Machine) -> Json:
    address = machine.address
    return {**asdict(machine), "ssh": str(address) if address else None}


def machine_line(machine: Machine) -> str:
    where = f" in {machine.data_center}" if machine.data_center else ""
    ssh = f", {machine.address}" if machine.address else ""
    gpu = f" on {machine.gpu}" if machine.gpu else ""
    return (
        f"{machine.name} ({machine.id}) is {machine.status}{gpu}{where}{ssh}, "
        f"{money(machine.price_usd_h, 2)}/h"
    )


def guarded_data(machine: Machine, held: Mapping[str, Guarded], now: float) -> Json:
    """The machine with its lease; a machine that is not ours has none."""
    found = held.get(machine.id)
    return {**machine_data(machine), "lease": None if found is None else found.as_json(now)}


def lease_lines(held: Mapping[str, Guarded], now: float) -> list[str]:
    """The lease of each machine, and every killer that cannot be relied on."""
    lines = [f"lease {found.words(now)}" for found in held.values()]
    return [*lines, *(doubt for found in held.values() for doubt in found.doubts(now))]


def status_text(listed: Sequence[Listed], held: Mapping[str, Guarded], now: float) -> str:
    if not listed:
        return "no machines; nothing is billed by the hour"
    spans = {key: found.words(now) for key, found in held.items()}
    rows = [_status_row(entry, spans.get(entry.machine.id, "—")) for entry in listed]
    head = ("name", "id", "status", "gpu", "$/h", "lease", "place", "ssh", "")
    lines = [table(head, rows), f"{money(burn_usd_h(listed), 2)}/h in all"]
    if any(entry.machine.status == "EXITED" for entry in listed):
        lines.append("a stopped machine bills no GPU, but its volume: $0.20 per GB and month")
    lines += [doubt for found in held.values() for doubt in found.doubts(now)]
    return "\n".join(lines)


def burn_usd_h(listed: Sequence[Listed]) -> float:
    return sum(entry.machine.price_usd_h or 0.0 for entry in listed)


def _status_row(entry: Listed, lease: str) -> tuple[str, ...]:
    machine = entry.machine
    return (
        machine.name,
        machine.id,
        machine.status,
        _gpu(machine),
        money(machine.price_usd_h, 2),
        lease,
        machine.data_center or "—",
        str(machine.address or "—"),
        "" if entry.is_ours else "not made by gpuctl",
    )


def _gpu(machine: Machine) -> str:
    if machine.gpu is None:
        return "—"
    return machine.gpu if machine.gpu_count == 1 else f"{machine.gpu_count} × {machine.gpu}"


def offers_text(offers: Sequence[Offer]) -> str:
    rows = [
        (
            offer.gpu_name,
            f"{offer.vram_gb} GB",
            offer.cloud.lower(),
            money(offer.price_usd_h, 2),
            offer.stock.lower(),
            ", ".join(offer.data_centers) or "—",
        )
        for offer in offers
    ]
    return table(("gpu", "vram", "cloud", "$/h", "stock", "places"), rows)


def plan_data(plan: Plan, body: Json) -> Json:
    """The plan with the exact body of the first call; values of secret variables are hidden."""
    limit = plan.order.max_price_usd_h
    return {
        "workload": plan.order.workload,
        "max_price_usd_h": limit,
        "boot_limit_s": plan.order.boot_limit_s,
        "lease": asdict(plan.order.lease) if plan.order.lease else None,
        "candidates": [asdict(offer) for offer in plan.candidates],
        "body": {**body, "env": _hidden(body.get("env", {}))},
    }


def plan_text(plan: Plan) -> str:
    """What is about to be rented, before it is."""
    need, order, first = plan.request.need, plan.order, plan.first
    others = len(plan.candidates) - 1
    volume = (
        f"network volume {order.volume_id} at /workspace"
        if order.volume_id
        else f"{need.volume_gb} GB volume at /workspace, gone with the machine"
    )
    rows = [
        ("GPU", f"{first.gpu_name}, {first.vram_gb} GB ({first.cloud.lower()} cloud)"),
        ("price", f"${first.price_usd_h:.2f}/h; never above {_limit(order.max_price_usd_h)}"),
        ("otherwise", f"{others} more that fit, the next one at {_next_price(plan)}"),
        ("place", ", ".join(order.data_centers) or "anywhere"),
        ("image", need.image),
        ("disk", f"{need.disk_gb} GB, and {volume}"),
        ("env", ", ".join(order.env) or "none"),
        ("lease", leases.described(order.lease)),
    ]
    if not others:
        del rows[2]
    return "\n".join(f"  {name:<10}{value}" for name, value in rows)


def _limit(max_price_usd_h: float | None) -> str:
    return "any price" if max_price_usd_h is None else f"${max_price_usd_h:.2f}/h"


def _next_price(plan: Plan) -> str:
    return f"${plan.candidates[1].price_usd_h:.2f}/h" if len(plan.candidates) > 1 else ""


def _hidden(env: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: "***" if _SECRET_NAME.search(name) and name != "PUBLIC_KEY" else value
        for name, value in env.items()
    }
