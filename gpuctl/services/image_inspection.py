"""Reads what an image is from its registry, without pulling it."""

from __future__ import annotations

from contextlib import closing

from gpuctl.clients.registry_api import Registry
from gpuctl.images import facts as image_facts
from gpuctl.images import manifests, references
from gpuctl.images.facts import ImageFacts
from gpuctl.models import Json
from gpuctl.services.image_access import Access


def facts(ref: str, access: Access, *, platform: str | None = None) -> ImageFacts:
    """Manifest, platform and configuration of `ref`: three small requests, nothing is pulled.

    `platform` os/architecture; None prefers linux/amd64. Raises UsageError, NotFound,
    CredentialsError, ApiError.
    """
    reference = references.parsed(ref)
    with closing(access.registry(reference)) as registry:
        content = registry.manifest(reference.selector, manifests.MANIFEST_TYPES)
        document, manifest_digest = content.document(), content.digest
        entries = manifests.index_entries(document)
        platforms: tuple[str, ...] = ()
        if entries is not None:
            platforms = tuple(each.platform or "unknown" for each in entries)
            manifest_digest = manifests.chosen(entries, platform).digest
            document = registry.manifest(manifest_digest, manifests.MANIFEST_TYPES).document()
        manifest = manifests.manifest(document)
        return image_facts.of(
            str(reference),
            digest=content.digest,
            manifest_digest=manifest_digest,
            platforms=platforms,
            manifest=manifest,
            config=_config(registry, manifest),
        )


def digest(ref: str, access: Access) -> str | None:
    """What the registry has under `ref` now; None: nothing. Raises CredentialsError, ApiError."""
    reference = references.parsed(ref)
    with closing(access.registry(reference)) as registry:
        return registry.digest_of(reference.selector, manifests.MANIFEST_TYPES)


def _config(registry: Registry, manifest: manifests.Manifest) -> Json:
    return registry.blob(manifest.config.digest).document()
