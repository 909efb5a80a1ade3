"""What an image says of itself in its manifest and configuration. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gpuctl.images import suspicions
from gpuctl.images.manifests import Manifest, platform_of
from gpuctl.images.suspicions import Suspicion
from gpuctl.models import Json

LARGE_LAYER_BYTES = 1_000_000_000
# Cold pulls that were seen: 6.8 GB in 30 s, 16.3 GB in 165 s (runpod.md §8).
PULL_BYTES_PER_S = (99_000_000, 227_000_000)

_REQUIRED = re.compile(r"\bcuda>=(\d+\.\d+)")
_VERSION = re.compile(r"(\d+\.\d+)")
_CUDA_LABELS = ("com.nvidia.cuda.version", "cuda.version", "cuda_version")
_CUDA_VARIABLES = ("CUDA_VERSION", "NV_CUDA_CUDART_VERSION", "NV_CUDA_LIB_VERSION")


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: its compressed size and, where the history tells, what made it."""

    digest: str
    bytes: int
    created_by: str = ""


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """An image as its registry describes it; nothing was pulled.

    `digest` is what the reference names (an index where there is one), `manifest_digest` the image
    of this platform. `compressed_bytes` is what a machine downloads; `pull_s` (quickest, slowest)
    in seconds, cold. `min_cuda` is X.Y for deploy's minCudaVersion, with where it was read.
    """

    reference: str
    digest: str
    manifest_digest: str
    platform: str
    platforms: tuple[str, ...]
    layers: tuple[Layer, ...]
    min_cuda: str | None
    min_cuda_from: str | None
    ports: tuple[str, ...]
    user: str
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    has_healthcheck: bool
    has_ssh: bool
    environment: tuple[str, ...]
    labels: Mapping[str, str]
    created: str | None
    suspicions: tuple[Suspicion, ...]

    @property
    def compressed_bytes(self) -> int:
        return sum(layer.bytes for layer in self.layers)

    @property
    def pull_s(self) -> tuple[float, float]:
        slow, quick = PULL_BYTES_PER_S
        return self.compressed_bytes / quick, self.compressed_bytes / slow

    @property
    def large_layers(self) -> tuple[Layer, ...]:
        return tuple(layer for layer in self.layers if layer.bytes > LARGE_LAYER_BYTES)

    @property
    def is_root(self) -> bool:
        """Whether its processes run as root unless something says otherwise."""
        return self.user.partition(":")[0] in ("", "0", "root")


def of(
    reference: str,
    *,
    digest: str,
    manifest_digest: str,
    platforms: tuple[str, ...],
    manifest: Manifest,
    config: Json,
) -> ImageFacts:
    """Puts together what the registry gave."""
    runtime: Json = _mapping(config.get("config"))
    history = [step for step in config.get("history") or () if isinstance(step, dict)]
    environment = _environment(runtime)
    labels = {str(name): str(value) for name, value in _mapping(runtime.get("Labels")).items()}
    cuda, origin = min_cuda(environment, labels)
    return ImageFacts(
        reference=reference,
        digest=digest,
        manifest_digest=manifest_digest,
        platform=platform_of(config),
        platforms=platforms or (platform_of(config),),
        layers=_layers(manifest, history),
        min_cuda=cuda,
        min_cuda_from=origin,
        ports=tuple(sorted(_mapping(runtime.get("ExposedPorts")), key=_port_order)),
        user=str(runtime.get("User") or ""),
        entrypoint=_words(runtime.get("Entrypoint")),
        command=_words(runtime.get("Cmd")),
        has_healthcheck=_has_healthcheck(runtime),
        has_ssh=_has_ssh(environment, history, runtime),
        environment=tuple(environment),
        labels=labels,
        created=str(config["created"]) if config.get("created") else None,
        suspicions=suspicions.of(environment, labels, history),
    )


def min_cuda(
    environment: Mapping[str, str], labels: Mapping[str, str]
) -> tuple[str | None, str | None]:
    """The oldest CUDA driver the image asks for, and where that was read.

    NVIDIA_REQUIRE_CUDA is what NVIDIA's container runtime refuses by: its alternatives are
    separated by spaces, and the first `cuda>=X.Y` is the one without a forward-compatible driver.
    """
    if found := _REQUIRED.search(environment.get("NVIDIA_REQUIRE_CUDA", "")):
        return found[1], "NVIDIA_REQUIRE_CUDA"
    places = [(name, environment.get(name, "")) for name in _CUDA_VARIABLES]
    places += [(f"label {name}", labels.get(name, "")) for name in _CUDA_LABELS]
    for name, value in places:
        if found := _VERSION.match(value):
            return found[1], name
    return None, None


def _layers(manifest: Manifest, history: list[Json]) -> tuple[Layer, ...]:
    """Steps that made no layer stand in the history too, marked as empty."""
    made = [str(step.get("created_by", "")) for step in history if not step.get("empty_layer")]
    is_told = len(made) == len(manifest.layers)
    return tuple(
        Layer(layer.digest, layer.bytes, made[at] if is_told else "")
        for at, layer in enumerate(manifest.layers)
    )


def _environment(runtime: Json) -> dict[str, str]:
    pairs = [str(pair).partition("=") for pair in runtime.get("Env") or ()]
    return {name: value for name, _, value in pairs}


def _has_healthcheck(runtime: Json) -> bool:
    test = _words(_mapping(runtime.get("Healthcheck")).get("Test"))
    return bool(test) and test[0] != "NONE"


def _has_ssh(environment: Mapping[str, str], history: list[Json], runtime: Json) -> bool:
    """Whether there are signs of an SSH server; the images of RunPod start one in /start.sh."""
    told = " ".join(str(step.get("created_by", "")) for step in history)
    started = " ".join((*_words(runtime.get("Entrypoint")), *_words(runtime.get("Cmd"))))
    return "openssh-server" in told or "/start.sh" in started or "PUBLIC_KEY" in environment


def _port_order(port: str) -> tuple[int, str]:
    number = port.partition("/")[0]
    return (int(number) if number.isdigit() else 0), port


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _words(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return tuple(str(word) for word in value or ())
