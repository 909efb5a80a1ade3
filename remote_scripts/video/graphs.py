"""Workflows as data: a graph in ComfyUI's API format, and the map of what its inputs mean."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from video import guesses, models
from worker.layout import is_id
from worker.report import Failure

Json = dict[str, Any]
BUNDLED = Path(__file__).parent / "workflows"
API_REMEDY = "in ComfyUI: Workflow → Export (API); in older ones: Dev mode, then Save (API Format)"
DEFAULT = ("wan22_i2v", "wan22_flf2v")
# The seed's name for a pair of files that its owner supplies.
SEED = ("new_Wan22_api", "new_Wan22_flf2v_api")


@dataclass
class Workflow:
    """`map` has title, parameters (name → ["node.input"]), loras, presets; see workflows/."""

    name: str
    graph: Json
    map: Json = field(default_factory=dict)

    @property
    def parameters(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = self.map.get("parameters", {})
        return found

    def accepts(self, parameter: str) -> bool:
        """Whether any node that is there has it."""
        return any(self._place(target) for target in self.parameters.get(parameter, ()))

    def put(self, parameter: str, value: Any) -> bool:
        """Writes it to every node.input of the parameter; False when there is none."""
        places = [
            place for target in self.parameters.get(parameter, ()) if (place := self._place(target))
        ]
        for node_id, name in places:
            self.graph[node_id].setdefault("inputs", {})[name] = value
        return bool(places)

    def value(self, parameter: str) -> Any:
        """What stands there now; None when nothing does, or a link."""
        for target in self.parameters.get(parameter, ()):
            if place := self._place(target):
                found = self.graph[place[0]].get("inputs", {}).get(place[1])
                return None if isinstance(found, list) else found
        return None

    def preset(self, name: str | None) -> tuple[str, Json]:
        """Raises Failure(bad_input) for one that this workflow does not have."""
        known = self.map.get("presets") or {}
        wanted = name or str(self.map.get("default_preset", ""))
        if wanted in known:
            return wanted, known[wanted]
        if name is None or not known:
            return "", {}
        raise Failure(
            "bad_input", f"{self.name} has no preset {name!r}", f"one of {', '.join(known)}"
        )

    def without(self, node_ids: Iterable[str]) -> None:
        """Takes nodes out; what read their model reads the one before them."""
        for node_id in node_ids:
            node = self.graph.pop(node_id, None)
            if node:
                self._relink([node_id, 0], node["inputs"]["model"])

    def add_loras(self, side: str, loras: list[tuple[str, float]]) -> None:
        """The operator's LoRAs of one side (`high` or `low`). Raises Failure(unsupported)."""
        place = (self.map.get("loras") or {}).get(side)
        if not loras:
            return
        if place is None:
            raise Failure(
                "unsupported",
                f"{self.name} has no place for LoRAs that is known",
                "set them in the workflow itself: --set NODE.INPUT=VALUE",
            )
        if "slots" in place:
            for (name, weight), slot, at in zip(
                loras, place["slots"], place["weights"], strict=False
            ):
                self._write(slot, name)
                self._write(at, weight)
            return
        # Behind the map's own LoRA; behind the loader where that one was taken out.
        source = next(node_id for node_id in place["after"] if node_id in self.graph)
        for index, (name, weight) in enumerate(loras):
            source = self._chain(source, f"gpuctl_{side}_{index}", name, weight)

    def set(self, target: str, value: Any) -> None:
        """NODE.INPUT=VALUE; the node by id or by title. Raises Failure(bad_input)."""
        node, dot, name = target.rpartition(".")
        found = self._node(node) if dot else None
        if found is None:
            known = ", ".join(f"{key} ({title(self.graph, key)})" for key in list(self.graph)[:40])
            raise Failure("bad_input", f"the workflow has no node {node!r}", f"nodes: {known}")
        inputs = self.graph[found].setdefault("inputs", {})
        if name not in inputs:
            known = ", ".join(inputs)
            raise Failure(
                "bad_input", f"node {node} has no input {name!r}", f"its inputs: {known or 'none'}"
            )
        inputs[name] = value

    def files(self) -> Iterator[tuple[str, str, str]]:
        """(node, input, name) of every model file that the graph names."""
        for node_id, node in self.graph.items():
            for name, value in node.get("inputs", {}).items():
                if isinstance(value, str) and value.endswith(models.SUFFIXES):
                    yield node_id, name, value

    def _node(self, wanted: str) -> str | None:
        if wanted in self.graph:
            return wanted
        named = [key for key in self.graph if title(self.graph, key).lower() == wanted.lower()]
        return named[0] if len(named) == 1 else None

    def _place(self, target: str) -> tuple[str, str] | None:
        """`node.input`, or `node.input?` where the node may be absent."""
        node, _, name = target.rstrip("?").rpartition(".")
        return (node, name) if node in self.graph else None

    def _write(self, target: str, value: Any) -> None:
        if place := self._place(target):
            self.graph[place[0]]["inputs"][place[1]] = value

    def _chain(self, source: str, node_id: str, name: str, weight: float) -> str:
        self._relink([source, 0], [node_id, 0])
        self.graph[node_id] = {
            "class_type": "LoraLoaderModelOnly",
            "inputs": {"model": [source, 0], "lora_name": name, "strength_model": weight},
            "_meta": {"title": name},
        }
        return node_id

    def _relink(self, old: list[Any], new: Any) -> None:
        for node in self.graph.values():
            for name, value in node.get("inputs", {}).items():
                if value == old:
                    node["inputs"][name] = copy.copy(new)


def named(name: str | None, *, has_end: bool) -> Workflow:
    """The default pair, the seed's, or NAME.json of the volume's or our `workflows` folder.

    Raises Failure(bad_input) when there is no such file.
    """
    pair = SEED if name and name.removesuffix("_api") == "new_Wan22" else DEFAULT
    wanted = pair[has_end] if name is None or name in ("wan22", "new_Wan22", *pair) else name
    if not is_id(wanted):
        raise Failure(
            "bad_input", f"not the name of a workflow: {wanted!r}", "letters, digits, - _"
        )
    for folder in folders():
        path = folder / f"{wanted}.json"
        if path.is_file():
            return of(wanted, json.loads(path.read_text(encoding="utf-8")))
    raise Failure(
        "bad_input",
        f"there is no workflow {wanted}.json on this machine",
        f"put it into {folders()[0]}, or send it with --workflow FILE.json",
    )


def folders() -> list[Path]:
    """Where workflows are looked for: VIDEO_WORKFLOWS, the volume's folder, ours."""
    asked = os.environ.get("VIDEO_WORKFLOWS")
    return [*([Path(asked)] if asked else []), models.volume() / "workflows", BUNDLED]


def of(name: str, document: Any, own_map: Json | None = None) -> Workflow:
    """A graph and its map: the one given, a known one whose nodes are these, or a guess.

    Raises Failure(bad_input) for anything but the API format.
    """
    graph = checked(document)
    return Workflow(
        name, graph, copy.deepcopy(own_map or known_map(graph) or guesses.map_of(graph))
    )


def checked(document: Any) -> Json:
    """A copy of the graph. Raises Failure(bad_input) when it is not in the API format."""
    if isinstance(document, dict) and isinstance(document.get("nodes"), list):
        raise Failure("bad_input", "this workflow is in ComfyUI's own (UI) format", API_REMEDY)
    is_graph = isinstance(document, dict) and document and all(
        isinstance(node, dict) and isinstance(node.get("class_type"), str)
        and isinstance(node.get("inputs", {}), dict)
        for node in document.values()
    )  # fmt: skip
    if not is_graph:
        raise Failure("bad_input", "this is not a workflow in ComfyUI's API format", API_REMEDY)
    graph: Json = copy.deepcopy(document)
    return graph


def known_map(graph: Mapping[str, Any]) -> Json | None:
    """The map whose `match` names classes that stand at just these ids; the closest one."""
    found: list[tuple[int, Json]] = []
    for path in sorted(BUNDLED.glob("*.map.json")):
        known = json.loads(path.read_text(encoding="utf-8"))
        match: Json = known["match"]
        if all(graph.get(key, {}).get("class_type") == kind for key, kind in match.items()):
            found.append((len(match), known))
    return max(found, key=lambda pair: pair[0])[1] if found else None


def title(graph: Mapping[str, Any], node_id: str) -> str:
    """What a person calls the node."""
    node = graph.get(node_id) or {}
    return str((node.get("_meta") or {}).get("title") or node.get("class_type") or node_id)
