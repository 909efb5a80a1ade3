"""Before a graph is queued: has the server its nodes and its models? What is known is fetched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from video import comfy_errors, graphs, models
from video.comfy_client import Comfy
from worker.report import Failure

Json = dict[str, Any]


def check(comfy: Comfy, graph: Json, *, fetch_missing: bool) -> None:
    """Raises Failure: unsupported (nodes), model_missing (files), each with where to get it.

    A file of the catalogue is fetched onto the volume first, where `fetch_missing` allows it.
    """
    classes = _classes(comfy, graph)
    absent = [name for name, found in classes.items() if found is None]
    if absent:
        raise comfy_errors.missing_classes(absent)
    missing = list(_missing(graph, classes))
    fetched = False
    for _, _, name, _ in missing:
        if fetch_missing and name in models.catalogue():
            models.from_catalogue(name)
            fetched = True
    if fetched:
        missing = list(_missing(graph, _classes(comfy, graph)))
    if missing:
        raise _failure(graph, missing)


def problems(comfy: Comfy, graph: Json) -> list[str]:
    """Everything that `check` would raise, as sentences; nothing is fetched."""
    found = []
    classes = _classes(comfy, graph)
    absent = [name for name, known in classes.items() if known is None]
    if absent:
        failure = comfy_errors.missing_classes(absent)
        found.append(f"{failure.message}: {failure.remedy}")
    return found + [_sentence(graph, *row) for row in _missing(graph, classes)]


def _classes(comfy: Comfy, graph: Json) -> dict[str, Json | None]:
    names = sorted({str(node["class_type"]) for node in graph.values()})
    return {name: comfy.node_class(name) for name in names}


def _missing(
    graph: Json, classes: Mapping[str, Json | None]
) -> Iterator[tuple[str, str, str, list[str]]]:
    """(node, input, name, what there is) of each file that its loader does not list."""
    for node_id, node in graph.items():
        info = (classes[node["class_type"]] or {}).get("input", {})
        specs = {**info.get("required", {}), **info.get("optional", {})}
        for name, value in node.get("inputs", {}).items():
            choices = choices_of(specs.get(name))
            is_file = isinstance(value, str) and value.endswith(models.SUFFIXES)
            if is_file and choices is not None and value not in choices:
                yield node_id, name, value, choices


def choices_of(spec: Any) -> list[str] | None:
    """The values of a combo, in the old spelling ([[…], {}]) or the new (["COMBO", {options}])."""
    if not isinstance(spec, list) or not spec:
        return None
    if isinstance(spec[0], list):
        return [str(choice) for choice in spec[0]]
    if spec[0] == "COMBO" and len(spec) > 1 and isinstance(spec[1], dict):
        return [str(choice) for choice in spec[1].get("options") or ()]
    return None


def _failure(graph: Json, missing: list[tuple[str, str, str, list[str]]]) -> Failure:
    sentences = [_sentence(graph, *row) for row in missing]
    remedy = (
        "put the file on the volume, or give its address (…_url); gpuctl video models lists them"
    )
    return Failure("model_missing", "; ".join(sentences), remedy)


def _sentence(graph: Json, node_id: str, name: str, value: str, choices: list[str]) -> str:
    node = f"node '{graphs.title(graph, node_id)}' ({node_id})"
    return f"{node}: {name} {comfy_errors.missing_file(value, choices)}"
