"""Ends everything of ours at once, each with its proof of death; what resists is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from gpuctl.errors import ApiError, GpuctlError, NotFound, StillBilling
from gpuctl.holdings import Holding
from gpuctl.models import Machine
from gpuctl.providers.ec2_account import Ec2Account
from gpuctl.providers.runpod_account import RunpodAccount
from gpuctl.services import machines
from gpuctl.services.asking import ask_all
from gpuctl.services.resources import Inventory
from gpuctl.services.session import Session
from gpuctl.services.silence import Silence
from gpuctl.services.waiting import wait_for

# Storage stays: it is what the work lies on. It is shown, and deleted by its own command.
STORAGE = ("volume", "disk")
CONFIRM_LIMIT_S = 180.0
POLL_S = 2.0
LIMIT_S = 300.0


@dataclass(frozen=True, slots=True)
class Means:
    """What ends things: the machines' provider, the account, the regions by name."""

    session: Session
    account: RunpodAccount
    regions: Mapping[str, Ec2Account]


@dataclass(frozen=True, slots=True)
class Ended:
    """`proof` says how the end is known; else `error` says why it is not."""

    holding: Holding
    proof: str = ""
    error: GpuctlError | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """`still` is what may still bill: things that resisted. `storage` is kept on purpose."""

    ended: tuple[Ended, ...]
    storage: tuple[Holding, ...]

    @property
    def still(self) -> list[Ended]:
        return [each for each in self.ended if each.error is not None]


def doomed(inventory: Inventory) -> list[Holding]:
    """What of ours can be ended: machines, running or stopped, and endpoints."""
    return [holding for holding in inventory.ours() if holding.kind not in STORAGE]


def kept(inventory: Inventory) -> list[Holding]:
    """Storage of ours that stays, and stays billed."""
    return [holding for holding in inventory.ours() if holding.kind in STORAGE]


def end_all(means: Means, things: Sequence[Holding], storage: Sequence[Holding]) -> Outcome:
    """All at once. Raises nothing for one that resists: it is in `still`."""

    def deed(holding: Holding) -> Callable[[], str]:
        return lambda: _ended(means, holding)

    answers = ask_all({each.id: deed(each) for each in things}, limit_s=LIMIT_S)
    ended = [
        Ended(each, answers.found.get(each.id, ""), answers.failed.get(each.id)) for each in things
    ]
    gone = {each.holding.id for each in ended if not each.error}
    gone |= {each.holding.name for each in ended if not each.error}
    left = [each for each in storage if not (each.ends_with_them and set(each.attached_to) <= gone)]
    return Outcome(tuple(ended), tuple(_let_go(each, gone) for each in left))


def _let_go(storage: Holding, gone: set[str]) -> Holding:
    """Storage without the users that ended."""
    users = tuple(user for user in storage.attached_to if user not in gone)
    is_free = storage.attached_to and not users
    return replace(storage, attached_to=users, status="DETACHED" if is_free else storage.status)


def _ended(means: Means, holding: Holding) -> str:
    """How its end is known. Raises GpuctlError when it is not."""
    if holding.kind == "pod":
        return _pod_ended(means.session, holding)
    if holding.kind == "endpoint":
        return _endpoint_ended(means, holding)
    return _instance_ended(means, holding)


def _pod_ended(session: Session, holding: Holding) -> str:
    quiet = Session(session.provider, session.state, session.clock, Silence())
    machine = Machine(
        id=holding.id,
        name=holding.name,
        provider=holding.provider,
        status=holding.status,
        workload=holding.workload,
        price_usd_h=holding.usd_h,
    )
    machines.terminate(quiet, machine)
    return "a later read no longer finds it"


def _endpoint_ended(means: Means, holding: Holding) -> str:
    """First no workers, so that nothing bills however slow the rest is; then no endpoint."""
    account = means.account

    def gone() -> bool | None:
        with suppress(NotFound):  # the list below says whether it is
            account.stop_endpoint(holding.id)
        account.delete_endpoint(holding.id)
        return True if holding.id not in [each.id for each in account.endpoints()] else None

    _until(means, holding, gone)
    return "a later list no longer has it"


def _instance_ended(means: Means, holding: Holding) -> str:
    region = means.regions[holding.place or ""]

    def gone() -> bool | None:
        region.terminate(holding.id)
        return True if region.is_gone(holding.id) else None

    _until(means, holding, gone)
    return "EC2 says terminated"


def _until(means: Means, holding: Holding, gone: Callable[[], bool | None]) -> None:
    """`gone` until it is, errors of the way notwithstanding. Raises StillBilling."""
    last: list[GpuctlError] = []

    def patiently() -> bool | None:
        try:
            return gone()
        except ApiError as error:
            last[:] = [error]
            return None

    try:
        wait_for(patiently, timeout_s=CONFIRM_LIMIT_S, every_s=POLL_S, clock=means.session.clock)
    except GpuctlError as error:
        reason = last[-1].message if last else error.message
        raise StillBilling(f"the end of {holding.id} is not confirmed: {reason}") from error
