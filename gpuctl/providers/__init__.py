"""Where machines come from: the registry, one line per provider."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Event
from typing import Protocol

from gpuctl.models import Secret
from gpuctl.providers import host, runpod
from gpuctl.providers.base import Provider


class Connect(Protocol):
    """Makes a provider from values; opens nothing before the first call."""

    def __call__(
        self,
        *,
        api_url: str,
        api_key: Secret | None,
        timeout_s: float,
        sleep: Callable[[float], object],
    ) -> Provider: ...


PROVIDERS: dict[str, Connect] = {
    runpod.NAME: runpod.connect,
    host.NAME: host.connect,
}


def connect_all(
    *,
    api_url: str,
    api_key: Secret | None,
    timeout_s: float,
    sleep: Callable[[float], object] | None = None,
) -> Mapping[str, Provider]:
    """Every provider by name. `sleep` pauses between attempts of one call."""
    pause = sleep or Event().wait
    return {
        name: connect(api_url=api_url, api_key=api_key, timeout_s=timeout_s, sleep=pause)
        for name, connect in PROVIDERS.items()
    }
