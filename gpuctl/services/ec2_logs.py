"""What an instance says: its serial console, and the container that is rehearsed on it."""

from __future__ import annotations

from gpuctl.models import Machine
from gpuctl.remote import containers
from gpuctl.services.connections import Connector
from gpuctl.services.session import Session

PREFIX = "gpuctl-"


def container_name(workload: str) -> str:
    """What the container is called on the instance."""
    return f"{PREFIX}{workload}"


def console(session: Session, machine: Machine, lines: int) -> list[str]:
    """The last lines that EC2 has of it; they may be minutes old."""
    said = session.provider.logs(machine.id, source="system", tail=lines)
    return [line.text for line in said]


def container(connector: Connector, machine: Machine, lines: int) -> list[str]:
    """Raises NotFound when none was started, ConnectionFailed."""
    with connector.connect(machine) as shell:
        return containers.logs(shell, container_name(machine.workload or ""), lines)
