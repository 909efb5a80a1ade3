"""Network volumes are billed: a create is journalled, looked up by name, and never forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gpuctl.errors import ApiError, StillBilling, UsageError
from gpuctl.holdings import DataCenter, Volume, VolumeOrder
from gpuctl.models import Json
from gpuctl.providers.runpod import RunpodProvider
from gpuctl.providers.runpod_account import RunpodAccount
from gpuctl.services import volumes
from gpuctl.services.volumes import Storage
from gpuctl.sim.launcher import Simulator, add_fault
from tests.support.rental import Rental, rental
from tests.support.simulator import simulator

__all__ = ["simulator"]

MODELS = VolumeOrder("models", 100, "EU-RO-1")


@pytest.fixture
def shop(simulator: Simulator, tmp_path: Path) -> Iterator[Rental]:
    with rental(simulator.api_url, tmp_path, simulator.api_key) as found:
        yield found


@pytest.fixture
def storage(shop: Rental) -> Storage:
    provider = shop.session.provider
    assert isinstance(provider, RunpodProvider)
    account = RunpodAccount(provider.api)
    return Storage(lambda: account, shop.state, shop.clock, shop.report)


def test_a_volume_is_in_the_journal_before_it_is_made_and_settled_after(
    storage: Storage, shop: Rental
) -> None:
    made = volumes.create(storage, MODELS)
    [intent] = shop.state.journal()
    assert (intent.provider, intent.outcome, intent.machine_id) == (
        volumes.JOURNAL, "created", made.id,
    )  # fmt: skip
    volumes.delete(storage, made)
    assert shop.outcomes() == ["deleted"]
    assert storage.account.volumes() == []


def test_a_refusal_settles_the_intent(storage: Storage, shop: Rental) -> None:
    with pytest.raises(ApiError, match="data center must be one of"):
        volumes.create(storage, VolumeOrder("models", 100, "MOON-1"))
    assert shop.outcomes() == ["refused: 400"]


def test_a_create_that_broke_is_looked_up_by_name(
    storage: Storage, shop: Rental, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = storage.account.api.create_volume

    def broken(body: Json) -> Json:
        make(body)
        raise ApiError("no answer", status=502)

    monkeypatch.setattr(storage.account.api, "create_volume", broken)
    made = volumes.create(storage, MODELS)
    assert [volume.id for volume in storage.account.volumes()] == [made.id]
    assert shop.outcomes() == ["created"]


def test_a_create_of_which_nobody_knows_is_said_to_be_so(
    storage: Storage, shop: Rental, simulator: Simulator
) -> None:
    add_fault(simulator, "server-error", value="network-volumes", times=20)
    with pytest.raises(StillBilling, match="whether the volume models was made is unknown"):
        volumes.create(storage, MODELS)
    assert shop.outcomes() == [None]


@pytest.mark.parametrize("exists", [True, False])
def test_what_an_interrupted_create_left_is_settled_by_name(
    storage: Storage, shop: Rental, exists: bool
) -> None:
    detail: Json = {"pid": 2**22 + 1, "computer": "elsewhere", "name": "models", "size_gb": 100}
    shop.state.intend("gpuctl-volume-1", volumes.JOURNAL, "storage", detail)
    if exists:
        storage.account.create_volume(MODELS)
    else:
        assert [intent.name for intent in volumes.reconcile(storage)] == ["gpuctl-volume-1"]
        shop.clock.sleep(volumes.LIST_LAG_S + 1)
    assert volumes.reconcile(storage) == []
    assert shop.outcomes() == ["found" if exists else "never_created"]
    assert any("is billed" in text for text in shop.report.said("warn")) is exists


def test_two_volumes_of_one_name_are_not_confused(storage: Storage) -> None:
    for _ in range(2):
        storage.account.create_volume(MODELS)
    with pytest.raises(UsageError, match="several volumes are called 'models'"):
        volumes.find(storage, "models")
    with pytest.raises(UsageError, match="exists"):
        volumes.order(storage, "models", 10, "EU-RO-1")


def test_an_end_that_cannot_be_confirmed_is_not_called_one(
    storage: Storage, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = volumes.create(storage, MODELS)
    monkeypatch.setattr(storage.account, "delete_volume", lambda _: None)
    with pytest.raises(StillBilling, match=made.id):
        volumes.delete(storage, made)


def test_a_price_that_is_not_known_is_none() -> None:
    fast = Volume("v", "v", 100, "EU-RO-1", "HIGH_PERFORMANCE")
    assert fast.usd_month is None


@pytest.mark.parametrize(
    ("tiers", "tier", "usd_month"),
    [
        (("STANDARD", "HIGH_PERFORMANCE"), "STANDARD", 7.0),
        (("HIGH_PERFORMANCE",), "HIGH_PERFORMANCE", None),
    ],
)
def test_a_place_does_not_choose_a_dearer_tier_by_itself(
    storage: Storage,
    monkeypatch: pytest.MonkeyPatch,
    tiers: tuple[str, ...],
    tier: str,
    usd_month: float | None,
) -> None:
    place = DataCenter("EU-RO-1", "EUROPE", tiers)
    monkeypatch.setattr(storage.account, "data_centers", lambda: [place])
    wanted = volumes.order(storage, "models", 100, "EU-RO-1")
    assert (wanted.tier, wanted.usd_month) == (tier, usd_month)
    assert volumes.create(storage, wanted).tier == tier
