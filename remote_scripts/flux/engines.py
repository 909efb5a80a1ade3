"""Which engine suits the card: decided from memory alone, so that it can be said and tested."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Literal

from flux.request import Model
from worker.report import Failure

EngineName = Literal["bf16", "fp8", "nf4", "offload", "cpu"]
# Activations and the VAE at 1024², on top of the weights (workloads.md §5.3).
SPARE_GB = 4.0
# NF4 transformer and T5 peak at 14.95 GB for a 34 GB model (diffusers' documentation).
NF4_SHARE = 0.45
# The largest module, moved alone: 24 of 34 GB; below it, layers move one by one.
OFFLOAD_SHARE = 0.72
SMALL_GB = 4.0
PACKAGES = {"nf4": "bitsandbytes", "fp8": "torchao"}
PINS = {"bitsandbytes": "bitsandbytes==0.50.2", "torchao": "torchao==0.18.0"}


@dataclass(frozen=True)
class Card:
    """The GPU as torch sees it. `memory_gb` in decimal GB."""

    name: str
    memory_gb: float


@dataclass(frozen=True)
class Choice:
    """The engine and the sentence that says why."""

    name: EngineName
    reason: str


def choose(asked: str, model: Model, card: Card | None, *, is_local: bool) -> Choice:
    """The engine for `model` on `card` (None: no CUDA).

    Raises Failure (unsupported) when it cannot run here or its package is not installed.
    """
    if asked == "cpu":
        return Choice("cpu", "engine cpu: as asked; expect minutes per step with a full-size model")
    if card is None:
        return _without_gpu(asked, model, is_local=is_local)
    size = f"{card.memory_gb:.0f} GB {card.name}, the model needs {model.vram_gb:g} GB in bf16"
    if asked == "auto":
        name = _by_memory(model, card)
        return Choice(name, f"engine {name}: {size}{_WHY[name]}")
    package = PACKAGES.get(asked)
    if package and not is_installed(package):
        raise Failure(
            "unsupported",
            f"engine {asked} needs {package}, which is not installed",
            f"on the machine: pip install {PINS[package]}",
        )
    named: dict[str, EngineName] = {"bf16": "bf16", "fp8": "fp8", "nf4": "nf4"}
    return Choice(named.get(asked, "offload"), f"engine {asked}: as asked; {size}")


def moves_by_layer(model: Model, card: Card) -> bool:
    """Whether offloading has to go layer by layer because the largest module does not fit."""
    return card.memory_gb < model.vram_gb * OFFLOAD_SHARE + 1.0


def is_installed(package: str) -> bool:
    """Whether `package` can be imported; it is not."""
    return importlib.util.find_spec(package) is not None


_WHY = {
    "bf16": "; it stays resident",
    "nf4": "; quantised to 4 bits it stays resident",
    "offload": "; parts move in and out of the card, which is slow",
}


def _by_memory(model: Model, card: Card) -> EngineName:
    if card.memory_gb >= model.vram_gb + SPARE_GB:
        return "bf16"
    if card.memory_gb >= model.vram_gb * NF4_SHARE and is_installed("bitsandbytes"):
        return "nf4"
    return "offload"


def _without_gpu(asked: str, model: Model, *, is_local: bool) -> Choice:
    if asked == "auto" and (is_local or model.vram_gb <= SMALL_GB):
        return Choice("cpu", "engine cpu: no CUDA GPU here, and the model is small or local")
    raise Failure(
        "unsupported",
        "no CUDA GPU is visible to torch on this machine",
        "check `nvidia-smi` there, rent a machine with a GPU, or ask for --engine cpu",
    )
