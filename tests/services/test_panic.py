"""Panic proves each end; what resists is named, and does not save the others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gpuctl.clients.aws_sts import AwsAccess
from gpuctl.clients.ec2_api import Ec2Api
from gpuctl.errors import StillBilling
from gpuctl.holdings import Holding
from gpuctl.models import Secret
from gpuctl.providers.ec2_account import Ec2Account
from gpuctl.providers.runpod import RunpodProvider
from gpuctl.providers.runpod_account import RunpodAccount
from gpuctl.services import panic
from gpuctl.services.panic import Means
from gpuctl.sim.launcher import Simulator, add_fault
from tests.sim.test_money import ENDPOINT
from tests.support.ec2_stub import Ec2Stub, Instance, ec2_stub
from tests.support.rental import Rental, rental
from tests.support.simulator import a_running_pod, api_client, simulator

__all__ = ["simulator"]


@pytest.fixture
def shop(simulator: Simulator, tmp_path: Path) -> Iterator[Rental]:
    with rental(simulator.api_url, tmp_path, simulator.api_key) as found:
        yield found


@pytest.fixture
def aws() -> Iterator[Ec2Stub]:
    with ec2_stub() as found:
        yield found


@pytest.fixture
def means(shop: Rental, aws: Ec2Stub) -> Means:
    provider = shop.session.provider
    assert isinstance(provider, RunpodProvider)
    access = AwsAccess(
        access_key_id="AKIA", secret_access_key=Secret("none-at-all"), endpoint_url=aws.url
    )
    region = Ec2Account(Ec2Api(access, "us-east-1", 10))
    return Means(shop.session, RunpodAccount(provider.api), {"us-east-1": region})


def everything(means: Means) -> list[Holding]:
    account = means.account
    return [*account.pods(), *account.endpoints(), *means.regions["us-east-1"].holdings()]


def test_each_end_has_its_proof(means: Means, simulator: Simulator, aws: Ec2Stub) -> None:
    aws.instances = [Instance("i-1")]
    with api_client(simulator) as client:
        a_running_pod(client)
        client.post("/serverless", json=ENDPOINT)
    outcome = panic.end_all(means, everything(means), [])
    assert {each.holding.kind: each.proof for each in outcome.ended} == {
        "pod": "a later read no longer finds it",
        "endpoint": "a later list no longer has it",
        "instance": "EC2 says terminated",
    }
    assert outcome.still == []
    assert everything(means) == []


def test_what_resists_is_named_and_the_others_end(
    means: Means, simulator: Simulator, aws: Ec2Stub
) -> None:
    aws.instances, aws.resists = [Instance("i-1")], True
    with api_client(simulator) as client:
        stubborn = a_running_pod(client, "gpuctl-flux-1")
        add_fault(simulator, "delete-ignored", times=50)
        client.post("/serverless", json=ENDPOINT)
    outcome = panic.end_all(means, everything(means), [])
    assert sorted(each.holding.id for each in outcome.still) == sorted(["i-1", stubborn["id"]])
    assert all(isinstance(each.error, StillBilling) for each in outcome.still)
    assert [each.kind for each in everything(means)] == ["pod", "instance"]


def test_an_end_that_was_only_answered_is_asked_for_again(
    means: Means, simulator: Simulator
) -> None:
    with api_client(simulator) as client:
        a_running_pod(client)
    add_fault(simulator, "delete-ignored", times=2)
    outcome = panic.end_all(means, everything(means), [])
    assert outcome.still == []
    assert everything(means) == []
