"""What a running pod tells: GPU use, uptime, and where its ports answer (runpod.md §2.2)."""

from __future__ import annotations

from typing import Any

from gpuctl.models import Json

PROXY = "proxy.runpod.net"


def number(value: Any) -> float | None:
    """None for anything that is no number: telemetry is a service, not a promise."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else None


def mean_percent(runtime: Json, key: str) -> float | None:
    """Over the cards that tell; None when none does."""
    cards = runtime.get("gpus")
    told = [number(card.get(key)) for card in _tables(cards)]
    known = [percent for percent in told if percent is not None]
    return round(sum(known) / len(known), 1) if known else None


def urls(pod: Json, runtime: Json) -> tuple[str, ...]:
    """HTTP ports behind the provider's proxy, TCP ports at their public address; ssh apart.

    An HTTP port that is said to be on loopback is the simulator's, and has no proxy.
    """
    declared = pod.get("ports")
    ports = [str(port) for port in declared] if isinstance(declared, list) else []
    numbers = [text.removesuffix("/http") for text in ports if text.endswith("/http")]
    here = {
        str(mapping.get("private")): f"http://{mapping['ip']}:{mapping['public']}"
        for mapping in _tables(runtime.get("ports"))
        if mapping.get("type") == "http" and mapping.get("ip") == "127.0.0.1"
    }
    return (
        *(here.get(port, f"https://{pod['id']}-{port}.{PROXY}") for port in numbers),
        *(
            f"tcp://{mapping['ip']}:{mapping['public']} (port {mapping.get('private')})"
            for mapping in _tables(runtime.get("ports"))
            if mapping.get("type") == "tcp"
            and mapping.get("private") != 22
            and mapping.get("ip")
            and mapping.get("public")
        ),
    )


def _tables(value: Any) -> list[Json]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
