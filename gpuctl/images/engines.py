"""What a container engine does for us: builds an image and pushes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from gpuctl.images.references import Reference
from gpuctl.images.running import Command
from gpuctl.models import Report, Secret


@dataclass(frozen=True, slots=True)
class BuildOrder:
    """One image to be built. `platform` None is the engine's own; `bake` names the file and the
    target in it, for engines that can bake."""

    reference: Reference
    dockerfile: Path
    context: Path
    arguments: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    platform: str | None = None
    is_cached: bool = True
    bake: tuple[Path, str] | None = None


@dataclass(frozen=True, slots=True)
class Login:
    """An account of the registry that is pushed to."""

    registry: str
    username: str
    password: Secret


@dataclass(frozen=True, slots=True)
class Voice:
    """Where an engine tells how far it is: phases to `report`, every line to `detail`."""

    report: Report
    detail: Callable[[str], None]


class Engine(Protocol):
    """`title` is for people; `note` says what about this engine they should know, else None."""

    name: str
    title: str
    note: str | None
    is_simulated: bool

    def build_command(self, order: BuildOrder) -> Command:
        """The exact command that `build` executes. Raises MissingDependency, UsageError."""
        ...

    def build(self, order: BuildOrder, voice: Voice) -> str:
        """Returns the id of the image. Raises GpuctlError, MissingDependency."""
        ...

    def push_commands(self, reference: Reference, login: Login | None) -> list[Command]:
        """The exact commands that `push` executes, in order."""
        ...

    def push(self, reference: Reference, login: Login | None, voice: Voice) -> str:
        """Returns the digest that was pushed. Raises NotFound, CredentialsError, GpuctlError."""
        ...

    def has(self, reference: Reference) -> bool:
        """Whether an image of that name was built here."""
        ...
