"""Manifests, indexes and configurations of images as a registry keeps them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gpuctl.errors import ApiError, NotFound
from gpuctl.models import Json

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
MANIFEST_TYPES = (OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST)

DEFAULT_PLATFORM = "linux/amd64"  # what RunPod's and EC2's GPU machines are


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Content by digest: its type and its size in bytes as stored (layers: compressed)."""

    digest: str
    bytes: int
    media_type: str = ""
    platform: str | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """One image for one platform."""

    config: Descriptor
    layers: tuple[Descriptor, ...]


def index_entries(document: Json) -> tuple[Descriptor, ...] | None:
    """The images an index lists, None when the document is no index.

    Attestations, which stand in it with the platform `unknown`, are left out.
    """
    if not isinstance(document.get("manifests"), list):
        return None
    entries = [_descriptor(entry) for entry in document["manifests"] if isinstance(entry, dict)]
    return tuple(each for each in entries if not (each.platform or "").startswith("unknown"))


def chosen(entries: Sequence[Descriptor], platform: str | None) -> Descriptor:
    """The entry for `platform`; without a wish linux/amd64, else the only one there is.

    Raises NotFound, naming the platforms that there are.
    """
    wanted = platform or DEFAULT_PLATFORM
    fitting = [each for each in entries if _fits(each.platform, wanted)]
    if fitting:
        return fitting[0]
    if platform is None and len(entries) == 1:
        return entries[0]
    there = ", ".join(sorted({each.platform or "unknown" for each in entries})) or "none"
    raise NotFound(
        f"the image is not there for {wanted}; it is for: {there}",
        hint="name one with --platform",
    )


def _fits(offered: str | None, wanted: str) -> bool:
    """linux/arm64 is met by linux/arm64/v8; a variant that is asked for must be that one."""
    return offered is not None and (offered == wanted or offered.startswith(f"{wanted}/"))


def manifest(document: Json) -> Manifest:
    """Raises ApiError for a document that describes no image that could be run."""
    config, layers = document.get("config"), document.get("layers")
    if not isinstance(config, dict) or not isinstance(layers, list):
        version = document.get("schemaVersion")
        raise ApiError(
            "the registry's manifest is of the old schema 1, which is not read here"
            if version == 1
            else "the registry's answer is not the manifest of an image"
        )
    return Manifest(_descriptor(config), tuple(_descriptor(each) for each in layers))


def platform_of(config: Json) -> str:
    """os/architecture[/variant] as the image's own configuration states it."""
    parts = (config.get("os") or "linux", config.get("architecture") or "unknown")
    variant = config.get("variant")
    return "/".join(map(str, (*parts, variant) if variant else parts))


def _descriptor(entry: Json) -> Descriptor:
    size: Any = entry.get("size")
    place = entry.get("platform")
    return Descriptor(
        digest=str(entry.get("digest", "")),
        bytes=size if isinstance(size, int) else 0,
        media_type=str(entry.get("mediaType", "")),
        platform=platform_of(place) if isinstance(place, dict) else None,
    )
