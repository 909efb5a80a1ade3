"""Restarts a machine, and moves to another host when its own has no GPU left for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gpuctl.errors import GpuctlError, NoCapacity, UsageError
from gpuctl.holdings import HOURS_A_MONTH, PastOrder, pod_storage_usd_h
from gpuctl.models import Machine
from gpuctl.services import deploy, machines
from gpuctl.services.booting import Probe, Unusable, until_usable
from gpuctl.services.deploy import Order, Plan
from gpuctl.services.session import Session
from gpuctl.services.silence import Silence

# What says that the host, not the machine, is the obstacle.
HOST_LOST = (NoCapacity, Unusable)

# Makes the order for a workload out of what the old machine was: image, volume, GPU, …
MakeOrder = Callable[[PastOrder], Order]


class Stranded(NoCapacity):
    """The host is full, and what the machine stored lies on that host alone."""

    code = "stranded"


def restart(
    session: Session, machine: Machine, *, limit_s: float, probe: Probe | None, wait: bool = True
) -> Machine:
    """Restarts a running machine, starts a stopped one, and waits until it can be used.

    Raises NoCapacity or Unusable when its host has no GPU for it (it is stopped again then), and
    what `machines.start` raises.
    """
    current = machines.refresh(session, machine)
    if current.status != "RUNNING":
        return machines.start(session, current, limit_s=limit_s, probe=probe, wait=wait)
    session.report.step(f"restarting {current.name}")
    session.provider.restart(current.id)
    current = machines.refresh(session, current)
    if not wait:
        return current
    usable = until_usable(session, current, limit_s=limit_s, probe=probe)
    if usable.gpu_count == 0:
        machines.stop(session, usable)
        raise NoCapacity(f"{usable.name} came back without its GPU: its host is full")
    return usable


def elsewhere(session: Session, past: PastOrder, make_order: MakeOrder, why: GpuctlError) -> Plan:
    """The same machine again, beside its network volume: its own GPU first, then what fits.

    Raises Stranded when there is no network volume, NoCapacity when nothing is to be had.
    """
    if past.request.volume_id is None:
        raise _stranded(past, why)
    order = make_order(past)
    anything = _planned(session, replace(order, gpus=()))
    quiet = replace(session, report=Silence())  # it has been told where the volume is
    same = _planned(quiet, replace(order, gpus=(past.gpu_id,))) if past.gpu_id else None
    found = [plan for plan in (same, anything) if plan is not None]
    if not found:
        raise NoCapacity(
            f"{why.message.rstrip('.')}; and where its volume {past.request.volume_id} lies, no "
            "GPU that fits is in stock",
            hint="try again later: the volume and what is on it stay",
        )
    chosen = dict.fromkeys(offer for plan in found for offer in plan.candidates)
    return replace(found[0], candidates=tuple(chosen))


def recreate(session: Session, plan: Plan, old: Machine, *, probe: Probe | None) -> Machine:
    """Rents the new one; the old one is ended only when the new one can be used."""
    made = deploy.deploy(session, plan, probe=probe)
    machines.terminate(session, old)
    return made


def _planned(session: Session, order: Order) -> Plan | None:
    try:
        return deploy.plan(session, order)
    except (NoCapacity, UsageError):
        return None


def _stranded(past: PastOrder, why: GpuctlError) -> Stranded:
    name, size_gb = past.request.name, past.request.need.volume_gb
    reason = why.message.rstrip(".")
    if not past.has_own_volume:
        return Stranded(
            f"{reason}; it has no volume that another machine could mount",
            hint=f"gpuctl deploy {past.request.workload} --replace",
        )
    usd_h = pod_storage_usd_h(disk_gb=0, volume_gb=size_gb, is_stopped=True)
    return Stranded(
        f"{reason}; its {size_gb} GB volume lies on that host and nowhere else. Nothing is "
        f"lost while {name} is kept (${usd_h * HOURS_A_MONTH:.2f} a month): try again later, or "
        "start it with 0 GPUs in RunPod's console and copy the data off",
        hint=f"gpuctl start {name}   (or give the data up: gpuctl deploy "
        f"{past.request.workload} --replace)",
    )
