"""The names of our images: what a workload's is called, and which digest was pushed under it."""

from __future__ import annotations

from dataclasses import replace

from gpuctl import __version__
from gpuctl.config import Settings
from gpuctl.errors import ConfigError
from gpuctl.images import references
from gpuctl.images.references import DOCKER_HUB, Reference
from gpuctl.models import Json
from gpuctl.state import State

KIND = "image"
VARIANTS = ("full", "slim")


def reference(settings: Settings, workload: str, variant: str) -> str:
    """`<workload>.image` or `.image_slim` where somebody has set it, else the name that gpuctl
    builds under: `[<registry>/]<dockerhub.username>/gpuctl-<workload>:<version>-<variant>`.

    A default of the configuration is somebody else's image and never ours to build. Raises
    ConfigError without an account name.
    """
    key = f"{workload}.image_slim" if variant == "slim" else f"{workload}.image"
    set_values = {name: each for name, each in settings.items() if each.origin != "default"}
    if key in set_values and set_values[key].value:
        return str(references.parsed(str(set_values[key].value)))
    account = settings.text_or_none("dockerhub.username")
    if account is None:
        raise ConfigError(
            "under which account? dockerhub.username is not set",
            hint=f"gpuctl config set dockerhub.username NAME (or set {key}, or give --tag)",
        )
    registry = settings.text("dockerhub.registry")
    host = "" if registry == DOCKER_HUB else f"{registry}/"
    name = f"{host}{account.lower()}/gpuctl-{workload}:{__version__}-{variant}"
    return str(references.parsed(name))


def tagged(settings: Settings, workload: str, variant: str, tag: str | None) -> Reference:
    """`reference`, or what `--tag` says: a word is only the tag, anything else the whole name.

    Raises ConfigError, UsageError.
    """
    if tag is not None and ("/" in tag or ":" in tag):
        return references.parsed(tag)
    name = references.parsed(reference(settings, workload, variant))
    return references.parsed(f"{replace(name, tag=None)}:{tag}") if tag else name


def recorded(state: State, ref: str) -> str | None:
    """The digest that was last pushed as `ref` from this computer; None: never."""
    record = record_of(state, ref)
    return str(record["digest"]) if record and record.get("digest") else None


def record_of(state: State, ref: str) -> Json | None:
    """Everything remembered of `ref`: workload, variant, image id, digest, min_cuda, sizes."""
    return state.kept(KIND, str(references.parsed(ref)))


def remember(state: State, ref: Reference, changes: Json) -> Json:
    """Adds to what is known of `ref`, and returns all of it. A new build forgets the old digest."""
    record = {**(state.kept(KIND, str(ref)) or {}), "reference": str(ref), **changes}
    state.keep(KIND, str(ref), record)
    return record


def remembered(state: State) -> list[Json]:
    """Every image that was built or pushed from here, newest first."""
    return state.all_kept(KIND)
