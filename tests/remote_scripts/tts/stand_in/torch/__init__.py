"""As much of torch as the engine touches: it is seeded, and there is no GPU."""

from __future__ import annotations

from types import SimpleNamespace

__version__ = "2.8.0+stand-in"
seeds: list[int] = []
cuda = SimpleNamespace(is_available=lambda: False)


def manual_seed(seed: int) -> None:
    seeds.append(seed)
