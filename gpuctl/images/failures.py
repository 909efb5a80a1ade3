"""What the words of a container engine mean, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Callable

from gpuctl.errors import CredentialsError, GpuctlError, MissingDependency, NotFound
from gpuctl.images.running import Command, Ended

_NOISE = re.compile(
    r"(?i)^(?:DEPRECATED|\s+Install the buildx|\s+BuildKit is currently|\s+environment-variable"
    r"|\s+https://docs\.docker|-+$|the push refers to|sending build context)"
)

Make = Callable[[str], GpuctlError]


def _full(said: str) -> GpuctlError:
    return GpuctlError(
        f"the engine's disk is full: {said}",
        hint="docker system df shows with what; docker builder prune and image prune free it",
    )


def _gone(said: str) -> GpuctlError:
    return GpuctlError(
        f"the container engine went away in the middle of it: {said}",
        hint="start it again (Docker Desktop, or: sudo systemctl start docker) and repeat; "
        "finished steps are kept",
    )


def _refused(said: str) -> GpuctlError:
    return CredentialsError(
        f"the registry refused us: {said}",
        hint="gpuctl config set dockerhub.username NAME, then dockerhub.token; gpuctl doctor "
        "checks them",
    )


def _no_base(said: str) -> GpuctlError:
    return NotFound(
        f"an image that this one is built on cannot be had: {said}",
        hint="check the network and its name; another base: --arg BASE=REF",
    )


def _no_buildkit(said: str) -> GpuctlError:
    return MissingDependency(
        f"this Dockerfile needs BuildKit: {said}", hint="install the plugin docker-buildx-plugin"
    )


def _not_here(said: str) -> GpuctlError:
    return NotFound(
        f"the image is not on this computer: {said}", hint="gpuctl build WORKLOAD makes it"
    )


# The first that fits names the error: what ends everything else stands first.
_MEANINGS: tuple[tuple[re.Pattern[str], Make], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), make)
    for pattern, make in (
        (r"no space left on device|disk quota exceeded", _full),
        (
            r"cannot connect to the docker daemon|error during connect|unexpected EOF"
            r"|error reading from server|connection reset by peer|transport is closing",
            _gone,
        ),
        (r"requires BuildKit|BuildKit is enabled but", _no_buildkit),
        (
            r"image does not exist locally|no such image|image not known"
            r"|tag does not exist locally|reference .* does not exist locally",
            _not_here,
        ),
        (r"pull access denied|manifest unknown|manifest for .* not found", _no_base),
        (
            r"no basic auth credentials|unauthorized|authentication required|access .*denied"
            r"|^denied|incorrect username or password|invalid username/password",
            _refused,
        ),
        (r"no such host|network is unreachable|i/o timeout", _no_base),
    )
)


def error_of(command: Command, ended: Ended) -> GpuctlError:
    """The error a failed command stands for: its meaning where it is known, its words always."""
    lines = [line for line in ended.lines if not _NOISE.search(line)]
    for pattern, make in _MEANINGS:
        for line in reversed(lines):
            if pattern.search(line):
                return _detailed(make(_clean(line)), command, ended)
    said = _clean(lines[-1]) if lines else "it said nothing"
    error = GpuctlError(
        f"{' '.join(command.argv[:2])} failed ({ended.code}): {said}",
        hint="its whole output: repeat with --verbose",
    )
    return _detailed(error, command, ended)


def _detailed(error: GpuctlError, command: Command, ended: Ended) -> GpuctlError:
    error.details |= {
        "command": str(command),
        "engine_code": ended.code,
        "last_lines": list(ended.lines[-12:]),
    }
    return error


def _clean(line: str) -> str:
    return re.sub(r"^(?:ERROR:|Error:|Error response from daemon:)\s*", "", line.strip())
