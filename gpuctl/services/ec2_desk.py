"""Where an EC2 order is made ready and handed in: whatever is rented there goes through here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from gpuctl.clients.aws_sts import AwsAccess
from gpuctl.clients.ec2_rental import Ec2Rental
from gpuctl.config import Settings
from gpuctl.errors import NotFound, UsageError
from gpuctl.models import Machine, MachineRequest
from gpuctl.providers.ec2 import Ec2Provider
from gpuctl.providers.ec2_account import INSTANCE_USD_H
from gpuctl.services import (
    aws,
    ec2_host_keys,
    ec2_launching,
    ec2_orders,
    ec2_preparing,
    machines,
)
from gpuctl.services.booting import DEAD, Probe
from gpuctl.services.ec2_orders import Asked
from gpuctl.services.ec2_preparing import Wishes
from gpuctl.services.session import Session
from gpuctl.services.ssh_identity import public_line


@dataclass(frozen=True, slots=True)
class Desk:
    """`session` is that of EC2; `here` is the network that may ssh in where nobody has to be asked
    for it (the simulator's instances are on this computer)."""

    settings: Settings
    access: AwsAccess
    session: Session
    ssh_key: Path
    here: str | None = None

    def wishes(self, asked: Asked) -> Wishes:
        """Flags over configuration. Raises UsageError, ConfigError."""
        home = aws.home_region(self.settings, self.access)
        asked = replace(asked, admitted=asked.admitted or self.here)
        return ec2_orders.wishes(self.settings, asked, home=home, now=self.session.clock.now())

    def rent(
        self,
        asked: Asked,
        request: MachineRequest,
        on_created: Callable[[Machine], object] = lambda _: None,
    ) -> Machine:
        """An instance that boots; nothing is made before everything it needs is known.

        Raises what ec2_preparing and ec2_launching raise.
        """
        wishes, provider = self.wishes(asked), self.provider
        timeout_s = self.settings.number("ec2.timeout_s")
        api = provider.regions.setdefault(
            wishes.region, Ec2Rental(self.access, wishes.region, timeout_s)
        )
        key = public_line(self.ssh_key)
        launch = ec2_preparing.launch_of(wishes, self.access, api, key, self.session.report)
        session = replace(self.session, provider=provider.prepared(launch))
        terms = ec2_orders.terms(self.settings, asked, request.need)
        return ec2_launching.rent(session, launch, request, terms, on_created=on_created)

    def reached(self, machine: Machine, probe: Probe) -> Machine:
        """The instance once it can be used; ended when that does not come."""
        settings = self.settings
        return ec2_launching.until_reached(
            self.session,
            machine,
            limit_s=settings.number("ec2.boot_limit_s"),
            probe=ec2_host_keys.checked(
                self.session, probe, patience_s=settings.number("ec2.console_limit_s")
            ),
        )

    @property
    def provider(self) -> Ec2Provider:
        provider = self.session.provider
        assert isinstance(provider, Ec2Provider)
        return provider

    def instances(self) -> list[Machine]:
        """Every instance of ours, in every region where one may be."""
        return [entry.machine for entry in machines.status(self.session) if entry.is_ours]

    def the_instance(self, name: str | None) -> Machine:
        """The one called so; without a name the only one. Raises NotFound, UsageError."""
        if name:
            return machines.find(self.session, name)
        found = self.instances()
        awake = [machine for machine in found if machine.status not in DEAD] or found
        if len(awake) == 1:
            return awake[0]
        if not awake:
            raise NotFound("there is no instance of ours", hint="gpuctl ec2 launch")
        names = ", ".join(machine.name for machine in awake)
        raise UsageError(f"which instance? There are {names}", hint="give its name")


def price_rows(wishes: Wishes) -> list[tuple[str, float | None, float | None]]:
    """Each type with its rate and the most a whole term of it costs, in USD."""
    hours = wishes.ttl_s / 3600
    rates = [(kind, INSTANCE_USD_H.get(kind)) for kind in wishes.types]
    return [(kind, rate, None if rate is None else rate * hours) for kind, rate in rates]
