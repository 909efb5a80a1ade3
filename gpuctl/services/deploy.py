"""Rents a machine: offer by offer, until one is usable, leaving nothing billing that is not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gpuctl.errors import (
    ApiError,
    BudgetRefused,
    CredentialsError,
    GpuctlError,
    NoCapacity,
    StillBilling,
    TimedOut,
    UsageError,
)
from gpuctl.models import Json, Machine, MachineRequest, Need, Offer
from gpuctl.services import budget, interrupts, journal, leases, machines
from gpuctl.services.booting import Probe, Unusable, WrongOrder, last_words, until_usable
from gpuctl.services.creating import NotSeen, create
from gpuctl.services.leases import Terms
from gpuctl.services.offers import candidates
from gpuctl.services.session import Session

# Each boot that fails has cost up to the boot limit: after so many the cause is not the host.
MOST_BOOTS = 3


@dataclass(frozen=True, slots=True)
class Order:
    """What is wanted, fully resolved. `cloud` is secure, community or any; `public_key` one line
    or several, as in authorized_keys; `boot_limit_s` seconds, and `boot_limit_usd` dollars of the
    machine's own rate, until it must be usable. `lease` None leaves the machine without one.
    `noted` goes into the journal: why the gate let it pass."""

    workload: str
    need: Need
    cloud: str = "secure"
    gpus: tuple[str, ...] = ()
    gpu_count: int = 1
    data_centers: tuple[str, ...] = ()
    volume_id: str | None = None
    max_price_usd_h: float | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    public_key: str | None = None
    boot_limit_s: float = 1200.0
    boot_limit_usd: float | None = None
    lease: Terms | None = None
    noted: Json | None = None

    def boot_limit_for(self, machine: Machine) -> float:
        """Seconds until `machine` must be usable: the shorter of the two limits."""
        if self.boot_limit_usd is None or not machine.price_usd_h:
            return self.boot_limit_s
        return min(self.boot_limit_s, self.boot_limit_usd / machine.price_usd_h * 3600)


@dataclass(frozen=True, slots=True)
class Plan:
    """An order with the offers that will be tried, best first. Nothing is rented yet."""

    order: Order
    request: MachineRequest
    candidates: tuple[Offer, ...]

    @property
    def first(self) -> Offer:
        return self.candidates[0]


def plan(session: Session, order: Order) -> Plan:
    """Reads the catalogue (and where the volume lies) and decides what to ask for.

    Raises NoCapacity, BudgetRefused, UsageError; makes no billed call.
    """
    order = _beside_its_volume(session, order)
    offers = session.provider.offers(order.need, cloud=order.cloud, gpu_count=order.gpu_count)
    chosen = _chosen(order, offers)
    if order.lease is not None:
        rate_usd_h = chosen[0].price_usd_h + order.lease.storage.running_usd_h
        budget.refuse_hopeless(
            order.lease.budget_usd, rate_usd_h=rate_usd_h, boot_limit_s=order.boot_limit_s
        )
    request = MachineRequest(
        name=f"gpuctl-{order.workload}",
        workload=order.workload,
        need=order.need,
        env={"GPUCTL_WORKLOAD": order.workload, **order.env},
        volume_id=order.volume_id,
        public_key=order.public_key,
        data_centers=order.data_centers,
    )
    return Plan(order, request, tuple(chosen))


def _chosen(order: Order, offers: list[Offer]) -> list[Offer]:
    try:
        return candidates(
            offers,
            gpus=order.gpus,
            min_vram_gb=order.need.vram_gb,
            max_price_usd_h=order.max_price_usd_h,
            data_centers=order.data_centers,
        )
    except NoCapacity as error:
        if order.volume_id is None:
            raise
        place = ", ".join(order.data_centers)
        raise NoCapacity(
            f"{error.message} (volume {order.volume_id} allows no other place)",
            hint=f"try later; or copy what is on it to a volume outside {place} (gpuctl "
            "datacenters --volumes), or rent without --volume",
            details=error.details,
        ) from error


def preview(session: Session, plan: Plan) -> Json:
    """The exact body of the first create call; only the end of the name is yet to be drawn."""
    return session.provider.body(replace(plan.request, name=f"{plan.request.name}-…"), plan.first)


def deploy(
    session: Session, plan: Plan, *, probe: Probe | None = None, wait: bool = True
) -> Machine:
    """Rents the first offer that works out and waits until the machine is usable.

    On any failure, Ctrl-C included, whatever was created is terminated, confirmed by a read, or
    StillBilling says what is left. Raises NoCapacity, BudgetRefused, TimedOut, CredentialsError.
    """
    refusals: list[tuple[Offer, GpuctlError]] = []
    for offer in plan.candidates:
        try:
            return _rent(session, plan, offer, probe, wait)
        except GpuctlError as error:
            if not _moves_on(error):
                raise
            refusals.append((offer, error))
            advice = (
                f". Next time: {error.hint}" if isinstance(error, Unusable) and error.hint else ""
            )
            session.report.note(f"{_called(offer)}: {error.message}{advice}")
        if sum(isinstance(error, _COSTLY) for _, error in refusals) == MOST_BOOTS:
            break
    raise _exhausted(refusals)


class _OverPrice(GpuctlError):
    """The billed rate is above the limit, whatever the list said."""

    code = "over_price"


_COSTLY = (TimedOut, Unusable, NotSeen)


def _moves_on(error: GpuctlError) -> bool:
    """Whether the next offer may do better: not with an empty account or a wrong request."""
    if isinstance(error, CredentialsError):  # 403: no access to that pool (runpod.md §1)
        return error.details.get("status") == 403
    return isinstance(error, NoCapacity | _OverPrice | TimedOut | Unusable | NotSeen)


def _rent(session: Session, plan: Plan, offer: Offer, probe: Probe | None, wait: bool) -> Machine:
    """One offer, from the billed call to a usable machine or to nothing."""
    session.report.step(f"asking for {_called(offer)} at ${offer.price_usd_h:.2f}/h")
    machine: Machine | None = None
    try:
        with interrupts.held(session.report):
            lease = _lease(session, plan, offer)
            noted = plan.order.noted
            machine = create(session, plan.request, offer, lease=lease, noted=noted)
        leases.seen(session, machine)
        _check_terms(plan.order, machine)
        if not wait:
            leases.deployed(session, machine)
            return machine
        limit_s = plan.order.boot_limit_for(machine)
        usable = until_usable(session, machine, limit_s=limit_s, probe=probe)
        _check_terms(plan.order, usable)
        leases.deployed(session, usable)
    except BaseException as error:
        if machine is not None:
            give_up(session, machine, error)
        raise
    return usable


def _lease(session: Session, plan: Plan, offer: Offer) -> Json | None:
    terms = plan.order.lease
    if terms is None:
        return None
    return leases.intended(terms, session.clock.now(), offer.price_usd_h)


def _check_terms(order: Order, machine: Machine) -> None:
    """There is no price ceiling in the API: what was rented is compared with what was wanted."""
    limit, rate = order.max_price_usd_h, machine.price_usd_h
    if limit is not None and rate is not None and rate > limit:
        raise _OverPrice(f"billed at ${rate:.2f}/h, above the limit of ${limit:.2f}/h")
    if machine.status == "RUNNING" and machine.gpu_count < order.gpu_count:
        raise Unusable(f"came with {machine.gpu_count} of {order.gpu_count} GPUs")


def give_up(session: Session, machine: Machine, error: BaseException) -> None:
    """Shows why, as far as the provider tells, and ends what was rented. Raises StillBilling."""
    if isinstance(error, TimedOut | Unusable | WrongOrder):
        for line in last_words(session, machine):
            session.report.note(f"  system log: {line}")
    try:
        with interrupts.held(session.report):
            machines.terminate(session, machine)
    except KeyboardInterrupt:
        if session.state.machine(machine.id) is not None:
            raise StillBilling(
                f"interrupted before the end of {machine.name} was confirmed, "
                f"{journal.price(machine)}",
                hint=f"gpuctl terminate {machine.id}",
                details={"machine": machine.id, "name": machine.name},
            ) from error
        raise
    session.report.note(f"{machine.name} is terminated; it bills nothing any more")


def _exhausted(refusals: list[tuple[Offer, GpuctlError]]) -> GpuctlError:
    """One error for all the offers that were refused; each with its reason."""
    tried = [
        {"gpu": offer.gpu_name, "cloud": offer.cloud, "reason": error.message}
        for offer, error in refusals
    ]
    details: Json = {"tried": tried}
    errors = [error for _, error in refusals]
    last = errors[-1].message
    if any(isinstance(error, TimedOut | Unusable) for error in errors):
        return TimedOut(
            f"no machine became usable; all that was rented is released. Last: {last}",
            hint=errors[-1].hint or "the image may not suit these machines: see its system log",
            details=details,
        )
    if any(isinstance(error, NotSeen) for error in errors):
        return ApiError(f"nothing could be created: {last}", hint="gpuctl status", details=details)
    if all(isinstance(error, _OverPrice) for error in errors):
        return BudgetRefused(
            f"every offer costs more than it was listed at: {last}", details=details
        )
    return NoCapacity(
        f"all {len(refusals)} offers were refused. Last: {last}",
        hint="allow more with --gpu, --cloud any or --max-price, or try again later",
        details=details,
    )


def _beside_its_volume(session: Session, order: Order) -> Order:
    """A network volume is in one data centre, and in Secure Cloud only (runpod.md §7.1)."""
    if not order.volume_id:
        return order
    if order.cloud == "community":
        raise UsageError(
            "a network volume cannot be mounted in the community cloud", hint="--cloud secure"
        )
    center = session.provider.volume_data_center(order.volume_id)
    if order.data_centers and center not in order.data_centers:
        raise UsageError(
            f"volume {order.volume_id} is in {center}, not in {', '.join(order.data_centers)}",
            hint=f"--dc {center}",
        )
    session.report.note(f"volume {order.volume_id} is in {center}: only machines there are tried")
    return replace(order, cloud="secure", data_centers=(center,))


def _called(offer: Offer) -> str:
    count = f"{offer.gpu_count} × " if offer.gpu_count > 1 else ""
    return f"{count}{offer.gpu_name} ({offer.cloud.lower()})"
