"""Where a service on this machine listens: loopback, and the port that clients call it by."""

from __future__ import annotations

import os

MAPPING = "GPUCTL_SIM_PORTS"


def host() -> str:
    """Clients come through an SSH tunnel; nothing is offered to the network."""
    return "127.0.0.1"


def port(number: int) -> int:
    """`number` itself. In a simulated pod the one that stands for it: all pods share a loopback."""
    for pair in os.environ.get(MAPPING, "").split(","):
        known, _, mapped = pair.partition(":")
        if known == str(number):
            return int(mapped)
    return number
