"""Builds a workload's image and pushes it, and remembers what became of it."""

from __future__ import annotations

import platform as this_computer
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from gpuctl import __version__
from gpuctl.errors import CredentialsError, NotFound, TransferFailed
from gpuctl.images.engines import BuildOrder, Engine, Voice
from gpuctl.images.facts import ImageFacts
from gpuctl.images.manifests import DEFAULT_PLATFORM
from gpuctl.images.references import Reference
from gpuctl.models import Json
from gpuctl.services import image_inspection, image_refs, image_sources
from gpuctl.services.image_access import Access
from gpuctl.services.image_sources import Source
from gpuctl.state import State

VERSION_ARGUMENT = "GPUCTL_VERSION"
"""A Dockerfile with this ARG is told the version that it is built from."""
_AMD64 = ("x86_64", "amd64")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line says of a build."""

    platform: str | None = None
    is_cached: bool = True
    arguments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Workshop:
    """What building and pushing need: an engine, the registries, and where it is written down."""

    engine: Engine
    access: Access
    state: State
    voice: Voice


@dataclass(frozen=True, slots=True)
class Pushed:
    """An image that is in its registry; `facts` as read back from there, None when it does not
    show them to us (somebody else's login pushed it)."""

    reference: Reference
    digest: str
    facts: ImageFacts | None
    seconds: float


def order(source: Source, reference: Reference, wishes: Wishes) -> BuildOrder:
    """GPU machines are linux/amd64: on another computer that is built for unless one says else.

    Raises UsageError for an argument that the Dockerfile does not have.
    """
    known = image_sources.check_arguments(source, wishes.arguments)
    own = {VERSION_ARGUMENT: __version__} if VERSION_ARGUMENT in known else {}
    is_amd64 = this_computer.machine().lower() in _AMD64
    return BuildOrder(
        reference=reference,
        dockerfile=source.dockerfile,
        context=source.context,
        arguments={**own, **wishes.arguments},
        labels={
            "gpuctl.version": __version__,
            "gpuctl.workload": source.workload,
            "gpuctl.variant": source.variant,
        },
        platform=wishes.platform or (None if is_amd64 else DEFAULT_PLATFORM),
        is_cached=wishes.is_cached,
        bake=source.bake,
    )


def build(workshop: Workshop, source: Source, order: BuildOrder) -> Json:
    """Returns what is remembered of the image. Raises GpuctlError, MissingDependency."""
    began = time.monotonic()
    workshop.voice.report.step(f"building {order.reference} with {workshop.engine.title}")
    image_id = workshop.engine.build(order, workshop.voice)
    return image_refs.remember(
        workshop.state,
        order.reference,
        {
            "workload": source.workload,
            "variant": source.variant,
            "image_id": image_id,
            "engine": workshop.engine.title,
            "simulated": workshop.engine.is_simulated,
            "build_s": round(time.monotonic() - began, 1),
            "built_at": time.time(),
            # What was pushed before is another image now.
            "digest": None,
        },
    )


def push(workshop: Workshop, reference: Reference, source: Source) -> Pushed:
    """Pushes, reads the digest back from the registry, and remembers it.

    Raises NotFound for an image that was never built, CredentialsError, TransferFailed when the
    registry has something else than was pushed.
    """
    began = time.monotonic()
    engine, voice = workshop.engine, workshop.voice
    if not engine.has(reference):
        raise NotFound(
            f"{reference} is not on this computer ({engine.title})",
            hint=f"gpuctl build {source.workload} --{source.variant}",
        )
    voice.report.step(f"pushing {reference}")
    digest = engine.push(reference, workshop.access.login_for(reference), voice)
    seconds = time.monotonic() - began
    facts = _read_back(workshop, reference, digest)
    image_refs.remember(
        workshop.state,
        reference,
        {
            "workload": source.workload,
            "variant": source.variant,
            "digest": digest,
            "simulated": engine.is_simulated,
            "pushed_at": time.time(),
            "platform": facts.platform if facts else None,
            "compressed_bytes": facts.compressed_bytes if facts else None,
            "min_cuda": facts.min_cuda if facts else None,
        },
    )
    return Pushed(reference, digest, facts, seconds)


def _read_back(workshop: Workshop, reference: Reference, digest: str) -> ImageFacts | None:
    """The registry is asked for the tag, not the digest: the tag is what a machine will pull."""
    try:
        facts = image_inspection.facts(str(reference), workshop.access)
    except CredentialsError as refusal:
        if workshop.access.login_for(reference) is not None:
            raise
        workshop.voice.report.warn(f"pushed, but not read back: {refusal.message}")
        return None
    if facts.digest != digest:
        raise TransferFailed(
            f"pushed {digest}, but the registry has {facts.digest} as {reference}",
            hint="somebody else may have pushed the same tag just now; push again",
        )
    return facts
