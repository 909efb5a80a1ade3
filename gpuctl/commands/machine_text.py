"""Machines, offers and plans as text and as data: pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from gpuctl.commands.render import money, table
from gpuctl.models import Json, Machine, Offer
from gpuctl.services import leases
from gpuctl.services.deploy import Plan
from gpuctl.workloads import whisper

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


def service_data(machine: Machine) -> Json:
    """Where RunPod's proxy offers the service of a pod; {} for what has none."""
    if machine.workload != whisper.NAME or machine.provider != "runpod":
        return {}
    health = f"{whisper.health_url(machine.id)}/health"
    return {"service": {"websocket": whisper.socket_url(machine.id), "health": health}}


def service_lines(machine: Machine) -> list[str]:
    urls = service_data(machine).get("service", {})
    if not urls:
        return []
    return [
        f"  WebSocket  {urls['websocket']}   (with whisper.token; without one only through ssh)",
        f"  Health     {urls['health']}",
        "  try it     gpuctl test health; gpuctl test transcription; gpuctl transcribe FILE",
    ]


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
