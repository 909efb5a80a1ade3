"""Workflow files of the operator: read, told apart from what ComfyUI itself saves, and set."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpuctl.errors import NotFound, UsageError
from gpuctl.models import Json

EXPORT = (
    "in ComfyUI: Workflow → Export (API); in older ones: Settings → Enable Dev mode, "
    "then Save (API Format)"
)
LIMIT_BYTES = 8 << 20


def read(path: Path) -> tuple[Json, Json | None]:
    """The graph in FILE.json, and FILE.map.json beside it when there is one.

    Raises NotFound, and UsageError for anything but the API format.
    """
    graph = _document(path)
    if isinstance(graph.get("nodes"), list):
        raise UsageError(
            f"{path} is in ComfyUI's own (UI) format, which it cannot run", hint=EXPORT
        )
    is_graph = bool(graph) and all(
        isinstance(node, dict) and isinstance(node.get("class_type"), str)
        for node in graph.values()
    )
    if not is_graph:
        raise UsageError(f"{path} is not a workflow in ComfyUI's API format", hint=EXPORT)
    beside = path.with_suffix(".map.json")
    return graph, _document(beside) if beside.is_file() else None


def sets(pairs: Sequence[str]) -> dict[str, Any]:
    """NODE.INPUT=VALUE; the value as JSON where it is some (7, 1.5, true), else a text.

    Raises UsageError.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        target, equals, value = pair.partition("=")
        if not equals or "." not in target.strip("."):
            raise UsageError(f"--set wants NODE.INPUT=VALUE, not '{pair}'")
        try:
            found[target.strip()] = json.loads(value)
        except ValueError:
            found[target.strip()] = value
    return found


def _document(path: Path) -> Json:
    try:
        if path.stat().st_size > LIMIT_BYTES:
            raise UsageError(f"{path} is too large to be a workflow")
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}") from None
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as JSON: {error}") from None
    if not isinstance(found, dict):
        raise UsageError(f"{path} is not a workflow in ComfyUI's API format", hint=EXPORT)
    return found
