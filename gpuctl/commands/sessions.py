"""Which provider's session a command works in: RunPod's, and EC2's once that was used."""

from __future__ import annotations

from gpuctl.context import Context
from gpuctl.models import Machine
from gpuctl.services.session import Session


def all_of(context: Context) -> list[Session]:
    """One for every provider that may have machines of ours."""
    used = {machine.provider for machine in context.state.machines()}
    used |= {intent.provider for intent in context.state.unresolved()}
    return [context.session(), *([context.session("ec2")] if "ec2" in used else [])]


def of(context: Context, machine: Machine) -> Session:
    """That of the machine's provider."""
    return context.session("ec2" if machine.provider == "ec2" else "runpod")


def of_name(context: Context, name: str) -> Session:
    """That of the machine called `name`, as far as this computer remembers it."""
    known = context.state.machine(name)
    return of(context, known) if known else context.session()
