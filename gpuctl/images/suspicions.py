"""Finds what looks like a secret in an image's environment and history, and never repeats it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from gpuctl.models import Json

# Shapes that their makers publish: a value of this kind is a secret whatever it is called.
_SHAPES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("a RunPod key", re.compile(r"\brp[as]_[A-Za-z0-9]{8,}")),
    ("an Anthropic key", re.compile(r"\bsk-ant-[A-Za-z0-9_-]{8,}")),
    ("a Hugging Face token", re.compile(r"\bhf_[A-Za-z0-9]{16,}")),
    ("an AWS access key", re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")),
    ("a GitHub token", re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,})")),
    ("a Docker token", re.compile(r"\bdckr_(?:pat|oat)_[\w-]{8,}")),
    ("a private key", re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")),
    ("a password in an address", re.compile(r"\b[a-z][a-z0-9+.-]*://[^/\s:@]+:[^/\s:@$]+@")),
    ("a bearer token", re.compile(r"(?i)\bbearer\s+[A-Za-z0-9._~+/-]{16,}")),
)
_NAME = re.compile(
    r"(?i)(?:^|_)(?:secret|token|passwo?r?d|passwd|credentials?|api_?key|access_?key|"
    r"private_?key|secret_?key|auth)(?:_|$|s$)"
)
# A name that only says where the secret would be, or a value that is none.
_POINTER = re.compile(r"(?i)_(?:file|path|dir|url|ttl|name|id|limit|length|expiry|type)$")
_EMPTY = re.compile(r"(?i)(?:|\*+|x+|changeme|none|null|true|false|\d{1,6}|/.*|\$.*|<.*>)")
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(?:\"([^\"]*)\"|'([^']*)'|(\S*))")


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Where something that looks like a secret stands, and why it does. Never the value."""

    where: str
    why: str

    def __str__(self) -> str:
        return f"{self.where}: {self.why}"


def of(environment: Mapping[str, str], labels: Mapping[str, str], history: Json | list[Json]) -> (
    tuple[Suspicion, ...]
):  # fmt: skip
    """Everything suspicious, each place once. Steps of the history are counted from 1."""
    found: dict[str, str] = {}
    for kind, values in (("env", environment), ("label", labels)):
        for name, value in values.items():
            if why := _why(name, value):
                found.setdefault(f"{kind} {name}", why)
    for number, step in enumerate(history, start=1):
        created_by = str(step.get("created_by", "")) if isinstance(step, dict) else ""
        for name, why in _in_command(created_by, environment):
            found.setdefault(f"history step {number}{name}", why)
    return tuple(Suspicion(where, why) for where, why in found.items())


def _why(name: str, value: str) -> str | None:
    if shape := _shape(value):
        return f"its value looks like {shape}"
    is_named = _NAME.search(name) and not _POINTER.search(name)
    if is_named and not _EMPTY.fullmatch(value.strip()):
        return "its name says that it is a secret, and it has a value"
    return None


def _shape(text: str) -> str | None:
    return next((name for name, pattern in _SHAPES if pattern.search(text)), None)


def _in_command(command: str, environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Build arguments stand in the history as `|2 NAME=value … /bin/sh -c …`."""
    named = False
    for name, value in _assignments(command):
        if environment.get(name) == value:
            named = True  # told as what it became in the environment
        elif why := _why(name, value):
            named = True
            yield f", {name}", why
    if not named and (shape := _shape(command)):
        yield "", f"it holds what looks like {shape}"


def _assignments(command: str) -> Iterable[tuple[str, str]]:
    for match in _ASSIGNMENT.finditer(command):
        yield match[1], match[2] or match[3] or match[4] or ""
