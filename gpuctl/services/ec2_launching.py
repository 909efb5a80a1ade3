"""Rents an instance: type by type and zone by zone, until one can be used, else nothing is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gpuctl.clients.aws_wire import QuotaRefused
from gpuctl.errors import GpuctlError, NoCapacity
from gpuctl.models import Machine, MachineRequest, Offer
from gpuctl.providers.ec2_order import Launch
from gpuctl.services import interrupts, leases
from gpuctl.services.booting import Probe, until_usable
from gpuctl.services.creating import create
from gpuctl.services.deploy import give_up
from gpuctl.services.ec2_preparing import quota_hint
from gpuctl.services.leases import Terms
from gpuctl.services.session import Session

# Told of the instance as soon as it exists: from here on it has to be ended by somebody.
OnCreated = Callable[[Machine], object]


def rent(
    session: Session,
    launch: Launch,
    request: MachineRequest,
    terms: Terms,
    *,
    on_created: OnCreated = lambda _: None,
) -> Machine:
    """One instance of the first type and zone that has room; it is still booting.

    Its lease says that it is being set up by this process: should that die, anybody's `reap` ends
    it. Raises NoCapacity, QuotaRefused, StillBilling, what RunInstances refuses.
    """
    refusals: list[tuple[Offer, GpuctlError]] = []
    for offer in session.provider.offers(request.need, cloud="", gpu_count=1):
        session.report.step(f"asking for {_called(offer)} at ${offer.price_usd_h:.3f}/h")
        lease = leases.intended(terms, session.clock.now(), offer.price_usd_h)
        try:
            with interrupts.held(session.report):
                machine = create(session, request, offer, lease=lease)
                on_created(machine)
        except QuotaRefused as error:
            raise QuotaRefused(
                error.message,
                hint=quota_hint(launch.region, launch.is_spot),
                details=error.details,
            ) from error
        except NoCapacity as error:
            refusals.append((offer, error))
            session.report.note(f"{_called(offer)}: {error.message}")
            continue
        leases.seen(session, machine)
        return machine
    raise _exhausted(launch, refusals)


def until_reached(
    session: Session, machine: Machine, *, limit_s: float, probe: Probe | None
) -> Machine:
    """Waits until it runs and `probe` is content; else it is ended, proven by a read.

    Raises TimedOut, StillBilling, what the probe raises.
    """
    try:
        return until_usable(session, machine, limit_s=limit_s, probe=probe)
    except BaseException as error:
        give_up(session, machine, error)
        raise


def handed_over(session: Session, machine: Machine) -> None:
    """It is the operator's now: only its deadline ends it."""
    leases.deployed(session, machine)


def taken_back(session: Session, machine: Machine) -> None:
    """This process answers for it again, as when it was launched."""
    from gpuctl.services import journal  # noqa: PLC0415  for instances that are used again

    lease = leases.of(session, machine)
    if lease is not None:
        leases.save(session, machine, replace(lease, deploying=journal.author()))


def _called(offer: Offer) -> str:
    spot = " spot" if offer.cloud == "SPOT" else ""
    return f"{offer.gpu_name}{spot} in {offer.data_centers[0]}"


def _exhausted(launch: Launch, refusals: list[tuple[Offer, GpuctlError]]) -> NoCapacity:
    tried = [
        {"type": offer.gpu_id, "place": offer.data_centers[0], "reason": error.message}
        for offer, error in refusals
    ]
    last = refusals[-1][1].message if refusals else "no type fits"
    return NoCapacity(
        f"none of {', '.join(launch.types)} is to be had in {launch.region}. Last: {last}",
        hint="another --region, more --type, or without --spot"
        if launch.is_spot
        else "another --region or more --type, or try again later",
        details={"tried": tried},
    )
