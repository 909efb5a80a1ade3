"""Endpoints made and ended, with the journal before and after: nothing bills unseen."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from gpuctl.errors import ApiError, GpuctlError, NotFound, StillBilling, TimedOut
from gpuctl.models import Endpoint, Json, Report
from gpuctl.providers.runpod_endpoints import (
    NAME,
    EndpointOrder,
    RunpodEndpoints,
    price_usd_h,
)
from gpuctl.services import endpoint_memory, journal
from gpuctl.services.waiting import Clock, wait_for
from gpuctl.state import State
from gpuctl.state_records import Intent

CONFIRM_LIMIT_S, POLL_S = 60.0, 1.0
LOOK_UP_S, LOOK_UP_EVERY_S = 30.0, 3.0


@dataclass(frozen=True, slots=True)
class EndpointSession:
    """What every service that deals with endpoints works with."""

    endpoints: RunpodEndpoints
    state: State
    clock: Clock
    report: Report


def create(session: EndpointSession, order: EndpointOrder) -> Endpoint:
    """Makes the endpoint under a new name; what a broken call really did is found by that name.

    Raises StillBilling when nobody could tell, and refusals as they are.
    """
    detail = {
        **journal.author(),
        "image": order.need.image,
        "pools": list(order.pools),
        "workers": [order.workers_min, order.workers_max],
    }
    session.state.intend(order.name, NAME, order.workload, detail)
    try:
        made = _made(session, order)
    except KeyboardInterrupt as stop:
        raise StillBilling(
            f"interrupted while {order.name} was being created: it may exist",
            hint="gpuctl endpoint list looks for it",
            details={"name": order.name},
        ) from stop
    session.state.resolve(order.name, "created", made.id)
    return priced(session, replace(made, workload=order.workload))


def delete(session: EndpointSession, endpoint: Endpoint) -> None:
    """First no workers, so that nothing bills however slow the rest is; done when a later list
    has it no more. Raises StillBilling."""
    endpoints = session.endpoints

    def gone() -> bool | None:
        endpoints.delete(endpoint.id)
        return True if endpoint.id not in [each.id for each in endpoints.list()] else None

    try:
        _without_workers(endpoints, endpoint)
        wait_for(gone, timeout_s=CONFIRM_LIMIT_S, every_s=POLL_S, clock=session.clock)
    except (ApiError, TimedOut) as error:
        raise StillBilling(
            f"the end of {endpoint.name} ({endpoint.id}) could not be confirmed: {error.message}",
            hint=f"gpuctl endpoint delete {endpoint.id}",
            details={"endpoint": endpoint.id},
        ) from error
    session.state.drop(endpoint_memory.KIND, endpoint.id)
    for intent in session.state.journal():
        if intent.provider == NAME and intent.machine_id == endpoint.id:
            session.state.resolve(intent.name, "deleted")


def priced(session: EndpointSession, endpoint: Endpoint) -> Endpoint:
    """With what a worker costs, and remembered. A catalogue that is down hides no endpoint."""
    try:
        price = price_usd_h(endpoint, session.endpoints.cards())
    except ApiError as error:
        session.report.note(f"what a worker costs could not be read: {error.message}")
        price = None
    known = endpoint_memory.by_id(session.state, endpoint.id)
    if price is None and known is not None:
        price = known.price_usd_h
    kept_max = known.paused_max if known and endpoint.workers_max == 0 else None
    found = replace(endpoint, price_usd_h=price, paused_max=kept_max)
    return endpoint_memory.remember(session.state, found)


def listed(session: EndpointSession) -> list[Endpoint]:
    """Every endpoint of the account; what is gone is forgotten."""
    found = session.endpoints.list()
    cards = session.endpoints.cards() if found else []
    kept = []
    for each in found:
        known = endpoint_memory.by_id(session.state, each.id)
        kept_max = known.paused_max if known and each.workers_max == 0 else None
        priced_ = replace(each, price_usd_h=price_usd_h(each, cards), paused_max=kept_max)
        kept.append(endpoint_memory.remember(session.state, priced_))
    for gone in endpoint_memory.known(session.state):
        if gone.id not in [each.id for each in found]:
            session.state.drop(endpoint_memory.KIND, gone.id)
    return kept


def find(session: EndpointSession, text: str) -> Endpoint:
    """As the account has it now. Raises NotFound."""
    known = endpoint_memory.named(text, endpoint_memory.known(session.state))
    if known is not None:
        try:
            return priced(session, session.endpoints.get(known.id))
        except NotFound:
            session.state.drop(endpoint_memory.KIND, known.id)
            raise
    every = listed(session)
    found = endpoint_memory.named(text, every)
    if found is None:
        raise endpoint_memory.none_called(text, every)
    return found


def reconcile(session: EndpointSession) -> list[Intent]:
    """Settles what interrupted creates left, by name; gives back what stays unknown.

    Asks nobody when there is nothing to ask; who could not be asked is warned of.
    """
    now = session.clock.now()
    left = [
        intent
        for intent in session.state.unresolved()
        if intent.provider == NAME and not journal.is_being_made(intent, now)
    ]
    if not left:
        return []
    try:
        by_name = {endpoint_memory.bare_name(each.name): each for each in session.endpoints.list()}
    except GpuctlError as error:
        names = ", ".join(intent.name for intent in left)
        session.report.warn(f"whether endpoint {names} exists is unknown: {error.message}")
        return left
    return [intent for intent in left if not _reconciled(session, intent, by_name)]


def _reconciled(session: EndpointSession, intent: Intent, by_name: dict[str, Endpoint]) -> bool:
    found = by_name.get(intent.name)
    if found is not None:
        endpoint_memory.remember(session.state, found)
        session.state.resolve(intent.name, "found", found.id)
        session.report.warn(
            f"endpoint {found.name} exists from an interrupted create, with {found.workers_min} "
            f"workers always on. Keep it, or: gpuctl endpoint delete {found.id}"
        )
        return True
    if session.clock.now() - intent.created_at < journal.LIST_LAG_S:
        session.report.warn(f"endpoint {intent.name} is not listed yet; it may still appear")
        return False
    session.state.resolve(intent.name, "never_created")
    return True


def _made(session: EndpointSession, order: EndpointOrder) -> Endpoint:
    try:
        return session.endpoints.create(order)
    except ApiError as error:
        is_refusal = error.status is not None and error.status < 500
        if is_refusal or error.details.get("sent") is False:
            session.state.resolve(order.name, f"refused: {error.status or 'not sent'}")
            raise
        session.report.note(f"{error.message}; looking for {order.name}")
        return _looked_up(session, order.name, error)
    except GpuctlError as error:
        session.state.resolve(order.name, f"refused: {error.code}")
        raise


def _looked_up(session: EndpointSession, name: str, error: ApiError) -> Endpoint:
    def seen() -> list[Endpoint] | None:
        found = session.endpoints.list()
        return [each for each in found if endpoint_memory.bare_name(each.name) == name] or None

    try:
        found = wait_for(
            seen, timeout_s=LOOK_UP_S, every_s=LOOK_UP_EVERY_S, clock=session.clock, what=name
        )
    except GpuctlError as failure:
        raise StillBilling(
            f"whether endpoint {name} was created is unknown: {error.message}",
            hint="gpuctl endpoint list looks again; until then assume that it exists",
            details={"name": name},
        ) from failure
    for duplicate in found[1:]:
        delete(session, duplicate)
    session.report.note(f"{name} was created all the same")
    return found[0]


def _without_workers(endpoints: RunpodEndpoints, endpoint: Endpoint) -> None:
    try:
        endpoints.update(endpoint.id, {"workers": {"min": 0, "max": 0}})
    except NotFound:
        return  # the list says so too


def record_of(endpoint: Endpoint) -> Json:
    """As `--json` shows it."""
    return asdict(endpoint)
