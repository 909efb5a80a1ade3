"""How AWS is reached from this configuration, and in which regions something of ours may be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gpuctl.clients.aws_sts import FALLBACK_REGION, AwsAccess
from gpuctl.clients.ec2_api import Ec2Api
from gpuctl.clients.ec2_rental import Ec2Rental
from gpuctl.models import Secret
from gpuctl.providers.ec2 import NAME, Ec2Provider, region_of
from gpuctl.providers.ec2_account import Ec2Account

if TYPE_CHECKING:
    from gpuctl.config import Settings
    from gpuctl.state import State


def accounts(settings: Settings, state: State, sim_folder: Path | None) -> list[Ec2Account]:
    """One for each region where something may bill; [] without credentials for AWS."""
    reached = known_access(settings, sim_folder)
    if reached is None:
        return []
    timeout_s = settings.number("runpod.timeout_s")
    found = regions(settings, reached, state)
    return [Ec2Account(Ec2Api(reached, region, timeout_s)) for region in found]


def provider(settings: Settings, state: State, reached: AwsAccess) -> Ec2Provider:
    """EC2 in those regions. Opens nothing yet."""
    timeout_s = settings.number("ec2.timeout_s")
    apis = {
        region: Ec2Rental(reached, region, timeout_s)
        for region in regions(settings, reached, state)
    }
    return Ec2Provider(apis, settings.text("ec2.user"))


def access(settings: Settings) -> AwsAccess:
    """As configured; None in it leaves the search to boto3."""
    from gpuctl.services import credentials  # noqa: PLC0415  only for AWS

    return credentials.aws_access(credentials.Values(settings))


def known_access(settings: Settings, sim_folder: Path | None) -> AwsAccess | None:
    """None where no AWS is set up. In a simulator (`sim_folder`): one on this computer that is
    configured, else the simulated one if it runs; the real one never."""
    from gpuctl.services import credentials  # noqa: PLC0415  only for AWS

    if sim_folder is not None:
        from gpuctl.sim import ec2_launcher  # noqa: PLC0415  only with --sim

        is_there = is_here(access(settings)) or ec2_launcher.running(sim_folder) is not None
        return simulated_access(settings, sim_folder) if is_there else None
    has_aws = credentials.has_aws(credentials.Values(settings))
    return access(settings) if has_aws else None


def simulated_access(settings: Settings, sim_folder: Path) -> AwsAccess:
    """The AWS on this computer that is configured, else the simulated one, which is started."""
    configured = access(settings)
    if is_here(configured):
        return configured
    from gpuctl.sim import ec2_launcher, launcher  # noqa: PLC0415  only with --sim

    simulator = launcher.ensure(sim_folder)
    own = {
        "GPUCTL_SIM_REGISTRY": simulator.registry_url,
        "GPUCTL_SIM_STEP_S": str(settings.number("sim.step_s")),
        "GPUCTL_SIM_LOAD_S": str(settings.number("sim.load_s")),
        "GPUCTL_SIM_MINUTE_MS": str(round(settings.number("sim.minute_s") * 1000)),
    }
    found = ec2_launcher.ensure(sim_folder, own)
    return AwsAccess(
        region=configured.region,
        access_key_id="AKIASIMULATED",
        secret_access_key=Secret("simulated"),
        endpoint_url=found.url,
    )


def is_here(reached: AwsAccess) -> bool:
    """Whether its endpoint is on this computer."""
    from gpuctl.clients.http import is_loopback  # noqa: PLC0415  only for AWS

    return is_loopback(urlsplit(reached.endpoint_url or "").hostname)


def home_region(settings: Settings, reached: AwsAccess) -> str:
    """Where instances are launched unless another region is asked for."""
    return settings.text_or_none("ec2.region") or reached.region or FALLBACK_REGION


def regions(settings: Settings, reached: AwsAccess, state: State) -> list[str]:
    """The configured ones, the home region, and those of every launch that is not known to be
    over."""
    places = [machine.data_center for machine in state.machines() if machine.provider == NAME]
    for intent in state.unresolved():
        if intent.provider == NAME:
            places += (intent.detail.get("offer") or {}).get("data_centers") or []
    configured = settings.strings("aws.regions") or (home_region(settings, reached),)
    return list(dict.fromkeys([*configured, *(region_of(place) for place in places if place)]))
