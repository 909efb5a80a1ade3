"""What can be built: each workload's Dockerfiles, their context, their bake file."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from gpuctl import resources
from gpuctl.errors import NotFound, UsageError
from gpuctl.images import dockerfiles

FILES = {"full": "Dockerfile", "slim": "Dockerfile.slim"}
BAKE_FILE = "docker-bake.hcl"
_TARGET = re.compile(r'^\s*target\s+"([\w.-]+)"\s*\{', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Source:
    """One image to be. `context` is all of remote_scripts: a worker needs more than its folder."""

    workload: str
    variant: str
    dockerfile: Path
    context: Path
    bake: tuple[Path, str] | None


def source(workload: str, variant: str | None) -> Source:
    """`variant` None: the full image, or the slim one where there is no other.

    Raises UsageError for a workload nobody knows, NotFound for one without that Dockerfile.
    """
    context = resources.bundled("remote_scripts")
    folder = context / workload
    if workload not in _workloads(context):
        raise _unknown(context, workload)
    there = [name for name, file in FILES.items() if (folder / file).is_file()]
    wanted = variant or next(iter(there), "full")
    if wanted not in there:
        raise NotFound(
            f"{workload} has no {wanted} image: there is no remote_scripts/{workload}/"
            f"{FILES[wanted]}",
            hint=f"gpuctl build {workload} --{there[0]}" if there else _buildable_hint(context),
        )
    dockerfile = folder / FILES[wanted]
    return Source(workload, wanted, dockerfile, context, _bake(folder, wanted))


def buildable() -> tuple[str, ...]:
    """The workloads with a Dockerfile."""
    return _buildable(resources.bundled("remote_scripts"))


def check_arguments(source: Source, given: Iterable[str]) -> Collection[str]:
    """The arguments that the Dockerfile takes. Docker only warns of one that it does not, at the
    very end. Raises UsageError."""
    known = dockerfiles.arguments(source.dockerfile.read_text(encoding="utf-8"))
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            listed = ", ".join(sorted(known)) or "none"
            raise UsageError(
                f"{source.dockerfile.name} of {source.workload} has no ARG {name}",
                hint=f"did you mean {near[0]}?" if near else f"it has: {listed}",
            )
    return known


def _bake(folder: Path, variant: str) -> tuple[Path, str] | None:
    """The bake file and the target for the variant: of its name, or `default` for the full one."""
    file = folder / BAKE_FILE
    if not file.is_file():
        return None
    targets = _TARGET.findall(file.read_text(encoding="utf-8"))
    names = (variant, "default") if variant == "full" else (variant,)
    target = next((name for name in names if name in targets), None)
    return (file, target) if target else None


def _buildable(context: Path) -> tuple[str, ...]:
    found = {path.parent.name for file in FILES.values() for path in context.glob(f"*/{file}")}
    return tuple(sorted(found))


def _workloads(context: Path) -> tuple[str, ...]:
    """What has a handler for jobs, or an image for its service."""
    handlers = {path.parent.name for path in context.glob("*/handler.py")}
    return tuple(sorted(handlers.union(_buildable(context))))


def _buildable_hint(context: Path) -> str:
    return f"workloads with a Dockerfile: {', '.join(_buildable(context)) or 'none'}"


def _unknown(context: Path, workload: str) -> UsageError:
    names = _workloads(context)
    near = get_close_matches(workload, names, n=1)
    hint = f"did you mean {near[0]}?" if near else _buildable_hint(context)
    return UsageError(f"there is no workload '{workload}'", hint=hint)
