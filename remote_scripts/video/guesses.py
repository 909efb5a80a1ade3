"""What the inputs of an unknown graph probably mean, so that a workflow of one's own just runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Json = dict[str, Any]
TEXTS = ("text", "prompt", "positive_prompt", "string", "value")
DEPTH = 12


def map_of(graph: Mapping[str, Any]) -> Json:
    """A map with only what is plain: pictures, prompts, seeds, size, length, frame rate."""
    images = sorted(_of_class(graph, "LoadImage"), key=_by_number)
    found: dict[str, list[str]] = {}
    if images:
        found["image"] = [f"{images[0]}.image"]
    if len(images) == 2:
        found["end_image"] = [f"{images[1]}.image"]
    for parameter, names in (
        ("prompt", ("positive", "text_embeds")),
        ("negative_prompt", ("negative",)),
    ):
        found[parameter] = list(dict.fromkeys(_texts(graph, names)))
    for name, parameter in (("noise_seed", "seed"), ("seed", "seed")):
        found.setdefault(parameter, []).extend(_literals(graph, name))
    _size(graph, found)
    found["fps"] = [*_literals(graph, "fps"), *_literals(graph, "frame_rate")]
    found["file_prefix"] = _literals(graph, "filename_prefix")
    known = {name: targets for name, targets in found.items() if targets}
    return {"title": "a workflow of its own", "parameters": known, "is_guess": True}


def _size(graph: Mapping[str, Any], found: dict[str, list[str]]) -> None:
    """A node with width, height and a length is where the film gets its size."""
    for node_id, node in graph.items():
        inputs = node.get("inputs", {})
        length = next((name for name in ("length", "num_frames", "frames") if name in inputs), None)
        if length is None or not {"width", "height"} <= set(inputs):
            continue
        for parameter, name in (("width", "width"), ("height", "height"), ("frames", length)):
            if isinstance(inputs[name], int):
                found.setdefault(parameter, []).append(f"{node_id}.{name}")


def _texts(graph: Mapping[str, Any], names: tuple[str, ...]) -> Iterator[str]:
    """The text behind every sampler's `positive` (or `negative`), through what passes it on."""
    for node in graph.values():
        inputs = node.get("inputs", {})
        is_sampler = "sampler" in str(node.get("class_type", "")).lower() or "steps" in inputs
        for name in names:
            if is_sampler and isinstance(inputs.get(name), list):
                target = _text_behind(graph, inputs[name], name, DEPTH)
                if target:
                    yield target


def _text_behind(graph: Mapping[str, Any], link: list[Any], name: str, depth: int) -> str | None:
    node_id = str(link[0])
    inputs = (graph.get(node_id) or {}).get("inputs", {})
    if name in inputs and isinstance(inputs[name], list) and depth:
        return _text_behind(graph, inputs[name], name, depth - 1)
    wanted = ("negative_prompt", *TEXTS) if name == "negative" else TEXTS
    return next((f"{node_id}.{text}" for text in wanted if isinstance(inputs.get(text), str)), None)


def _literals(graph: Mapping[str, Any], name: str) -> list[str]:
    return [
        f"{node_id}.{name}"
        for node_id, node in graph.items()
        if name in node.get("inputs", {}) and not isinstance(node["inputs"][name], list)
    ]


def _of_class(graph: Mapping[str, Any], name: str) -> list[str]:
    return [node_id for node_id, node in graph.items() if node.get("class_type") == name]


def _by_number(node_id: str) -> tuple[int, str]:
    return (int(node_id) if node_id.isdecimal() else 0, node_id)
