"""The name of an image taken apart as Docker does it: registry, repository, tag, digest. Pure."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace

from gpuctl.errors import UsageError

DOCKER_HUB = "docker.io"
DEFAULT_TAG = "latest"
# The hosts by which people and programs call Docker Hub.
_HUB_NAMES = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+|/)[a-z0-9]+)*")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HOST = re.compile(r"(?:[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*|\[[0-9a-fA-F:]+\])(?::\d{1,5})?")


@dataclass(frozen=True, slots=True)
class Reference:
    """`registry` is a host with an optional port; `digest` wins over `tag` where both are given."""

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @property
    def selector(self) -> str:
        """What the registry is asked for: the digest, else the tag."""
        return self.digest or self.tag or DEFAULT_TAG

    @property
    def is_loopback(self) -> bool:
        return is_loopback_registry(self.registry)

    def __str__(self) -> str:
        """The name as one would type it: Docker Hub and its `library/` are left out."""
        name = self.repository
        if self.registry != DOCKER_HUB:
            name = f"{self.registry}/{name}"
        elif name.startswith("library/"):
            name = name.removeprefix("library/")
        tag = f":{self.tag}" if self.tag else ""
        return f"{name}{tag}" + (f"@{self.digest}" if self.digest else "")

    def at(self, digest: str) -> Reference:
        """The same repository, at exactly this content."""
        return replace(self, tag=None, digest=digest)


def parsed(text: str) -> Reference:
    """Docker's rules: a first part with a dot, a colon or `localhost` is a registry.

    Raises UsageError for what cannot be the name of an image.
    """
    rest, _, digest = text.strip().partition("@")
    registry, rest = _split_registry(rest)
    repository, colon, tag = rest.partition(":")
    if registry == DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    is_right = (
        _REPOSITORY.fullmatch(repository)
        and _HOST.fullmatch(registry)
        and (not colon or _TAG.fullmatch(tag))
        and (not digest or _DIGEST.fullmatch(digest))
        and bool(digest) == ("@" in text)
    )
    if not is_right:
        raise UsageError(
            f"'{text}' is not the name of an image",
            hint="[REGISTRY/]NAME[:TAG][@sha256:…], names in lower case",
        )
    tag = tag or ("" if digest else DEFAULT_TAG)
    return Reference(registry, repository, tag or None, digest or None)


def _split_registry(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    is_host = slash and ("." in first or ":" in first or first == "localhost")
    if not is_host:
        return DOCKER_HUB, text
    return (DOCKER_HUB if first.lower() in _HUB_NAMES else first), rest


def is_loopback_registry(registry: str) -> bool:
    """Such registries are spoken to over plain HTTP, as Docker does by itself (127.0.0.0/8)."""
    host = registry.rpartition(":")[0] if re.search(r":\d+$", registry) else registry
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
