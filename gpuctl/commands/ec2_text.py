"""Instances, rehearsals and passports as text and as data: pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gpuctl.commands.machine_text import machine_data
from gpuctl.commands.render import money, table
from gpuctl.models import Json, Machine
from gpuctl.services.ec2_preparing import Wishes
from gpuctl.services.killers import Guarded
from gpuctl.services.validation import Result


def plan_data(wishes: Wishes, image: str, rows: Sequence[tuple[str, float | None, Any]]) -> Json:
    return {
        "region": wishes.region,
        "image": image,
        "spot": wishes.is_spot,
        "ttl_s": wishes.ttl_s,
        "ami_parameter": wishes.ami_parameter,
        "admitted": wishes.admitted,
        "types": [{"type": kind, "usd_h": rate, "usd_most": most} for kind, rate, most in rows],
    }


def plan_text(wishes: Wishes, image: str, rows: Sequence[tuple[str, float | None, Any]]) -> str:
    spot = ", spot: at most these prices" if wishes.is_spot else ""
    who = wishes.admitted or f"the address that {wishes.address_url} tells"
    shown = [(kind, money(rate, 3), money(most, 2)) for kind, rate, most in rows]
    return (
        f"would launch in {wishes.region}, the first that is to be had{spot}:\n"
        f"{table(('type', '$/h', 'most in all'), shown)}\n"
        f"for {image}; ends itself after {wishes.ttl_s / 60:.0f} min; ssh only from {who}\n"
        f"machine image: {wishes.ami_parameter}"
    )


def list_text(
    found: Sequence[Machine], held: Mapping[str, Guarded], usd: Mapping[str, float], now: float
) -> str:
    rows = [
        (
            machine.name,
            machine.id,
            machine.status,
            machine.gpu or "",
            machine.data_center or "",
            money(machine.price_usd_h, 3),
            money(usd.get(machine.id), 3),
            held[machine.id].words(now),
        )
        for machine in found
    ]
    head = ("instance", "id", "status", "gpu", "zone", "$/h", "so far", "lease")
    return table(head, rows) or "no instances of ours"


def instance_data(machine: Machine, guarded: Guarded, usd: float | None, now: float) -> Json:
    return {**machine_data(machine), "usd_so_far": usd, "lease": guarded.as_json(now)}


def instance_text(machine: Machine, guarded: Guarded, usd: float | None, now: float) -> str:
    address = f"{machine.address}" if machine.address else "no address"
    lines = [
        f"{machine.name} ({machine.id}) is {machine.status}",
        f"  gpu     {machine.gpu} in {machine.data_center}",
        f"  image   {machine.image or '—'}",
        f"  ssh     {address}",
        f"  cost    {money(machine.price_usd_h, 3)}/h, so far {money(usd, 3)}",
        f"  lease   {guarded.words(now)}",
    ]
    lines += [f"  {'✓' if k.is_armed else '✗'} {k.name}: {k.why or 'read back'}"
              for k in guarded.killers]  # fmt: skip
    return "\n".join(lines)


def result_text(image: str, result: Result, path: Path, uncovered: Sequence[str]) -> str:
    """What a rehearsal that passed has shown."""
    total_s = sum(phase.elapsed_s for phase in result.phases.done)
    cents = "an unknown sum" if result.usd is None else f"{result.usd * 100:.1f} ¢"
    lines = [
        f"{image} passed on {result.gpu} (driver {result.driver}) in {total_s:.0f} s, for {cents}",
        *(f"  ✓ {each.name}: {each.detail}" for each in result.evidence),
        *(f"  not covered: {each}" for each in uncovered),
        f"passport: {path}",
    ]
    return "\n".join(lines)


def passport_text(document: Json, why: str | None, path: Path) -> str:
    """One passport, and whether it is intact."""
    machine = document.get("machine") or {}
    lines = [
        f"{document.get('workload')} {document.get('variant')}: {document.get('reference')}",
        f"  digest    {document.get('digest')}",
        f"  verdict   {'passed' if document.get('passed') else 'FAILED'}, {document['created_at']}",
        f"  machine   {machine.get('gpu')} ({machine.get('type')}), driver {machine.get('driver')}",
        f"  host key  pinned from {machine.get('host_key')}",
        *(
            f"  {'✓' if each['is_ok'] else '✗'} {each['name']}: {each['detail']}"
            for each in document.get("checks", ())
        ),
        *(f"  not covered: {each}" for each in document.get("not_covered", ())),
        f"  integrity {why or 'intact'}{', simulated' if document.get('simulated') else ''}",
        f"  file      {path}",
    ]
    return "\n".join(lines)


def passports_text(rows: Sequence[Sequence[str]]) -> str:
    head = ("workload", "variant", "digest", "verdict", "made", "gpu", "integrity")
    return table(head, rows) or "no passports yet; gpuctl ec2 validate makes one"
