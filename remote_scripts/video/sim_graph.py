"""What the nodes of the simulated ComfyUI do: they pass on what the film at the end will be."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Film:
    """Moving pictures to be: sizes in pixels, `start` and `end` are picture files."""

    width: int = 512
    height: int = 512
    frames: int = 1
    start: Path | None = None
    end: Path | None = None
    prompt: str = ""
    seed: int = 0
    steps: int = 0
    colour: int = 0
    models: tuple[str, ...] = ()


def in_order(graph: Json, output: str) -> list[str]:
    """The nodes that `output` needs, each after those it needs itself."""
    found: list[str] = []

    def visit(node_id: str) -> None:
        if node_id in found:
            return
        for value in graph[node_id].get("inputs", {}).values():
            if isinstance(value, list):
                visit(str(value[0]))
        found.append(node_id)

    visit(output)
    return found


def signature(graph: Json, node_id: str) -> str:
    """The same for nodes that would give the same result."""
    node = graph[node_id]
    inputs = {
        name: [signature(graph, str(value[0])), value[1]] if isinstance(value, list) else value
        for name, value in node.get("inputs", {}).items()
    }
    known = json.dumps([node["class_type"], inputs], sort_keys=True)
    return hashlib.sha256(known.encode()).hexdigest()


def steps_of(node: Json, inputs: Json) -> int:
    """How many denoising steps a sampler runs; 0 for every other node."""
    if node["class_type"] == "KSamplerAdvanced":
        first, last = inputs["start_at_step"], inputs["end_at_step"]
    elif node["class_type"] == "WanVideoSampler":
        first, last = inputs.get("start_step", 0), inputs.get("end_step", -1)
        last = inputs["steps"] if last < 0 else last
    else:
        return 0
    return max(0, int(min(inputs["steps"], last) - first))


def run(node: Json, inputs: Json, input_folder: Path) -> tuple[Any, ...]:
    """The outputs of a node whose inputs are all known. Saving is the server's."""
    name = node["class_type"]
    if name == "LoadImage":
        return (Film(start=input_folder / inputs["image"]), None)
    work = _WORK.get(name)
    return work(inputs) if work else (_named(inputs),)


def _named(inputs: Json) -> Film:
    """Loaders and what only passes a model on: which files were used."""
    names = [
        value
        for key, value in inputs.items()
        if isinstance(value, str) and value.endswith((".safetensors", ".gguf"))
    ]
    earlier = [
        name for value in inputs.values() if isinstance(value, Film) for name in value.models
    ]
    return Film(models=(*earlier, *names))


def _condition(inputs: Json) -> tuple[Any, ...]:
    start, end = inputs.get("start_image"), inputs.get("end_image")
    film = Film(
        width=inputs["width"],
        height=inputs["height"],
        frames=int(inputs.get("length") or inputs["num_frames"]),
        start=start.start if start else None,
        end=end.start if end else None,
    )
    if "positive" in inputs:
        return inputs["positive"], inputs["negative"], film
    return (film,)


def _sample(inputs: Json) -> tuple[Any, ...]:
    film = inputs.get("latent_image") or inputs.get("samples") or inputs["image_embeds"]
    words = inputs.get("positive") or inputs.get("text_embeds")
    sampled = replace(
        film,
        prompt=words.prompt if words else film.prompt,
        seed=inputs.get("noise_seed", inputs.get("seed", 0)),
        steps=inputs["steps"],
        models=tuple(dict.fromkeys((*film.models, *inputs["model"].models))),
    )
    return sampled, sampled


def _pass(name: str) -> Callable[[Json], tuple[Any, ...]]:
    return lambda inputs: (inputs[name],)


def _empty(inputs: Json) -> tuple[Any, ...]:
    return (
        Film(
            width=inputs["width"],
            height=inputs["height"],
            frames=inputs["batch_size"],
            colour=inputs["color"],
        ),
    )


_WORK: dict[str, Callable[[Json], tuple[Any, ...]]] = {
    "CLIPTextEncode": lambda inputs: (Film(prompt=inputs["text"]),),
    "WanVideoTextEncode": lambda inputs: (Film(prompt=inputs["positive_prompt"]),),
    "WanImageToVideo": _condition,
    "WanFirstLastFrameToVideo": _condition,
    "WanVideoImageToVideoEncode": _condition,
    "KSamplerAdvanced": _sample,
    "WanVideoSampler": _sample,
    "VAEDecode": _pass("samples"),
    "WanVideoDecode": _pass("samples"),
    "CreateVideo": lambda inputs: ((inputs["images"], inputs["fps"]),),
    "EmptyImage": _empty,
    "INTConstant": _pass("value"),
    "ImageResizeKJv2": lambda inputs: (inputs["image"], inputs["width"], inputs["height"], None),
    "CreateCFGScheduleFloatList": _pass("cfg_scale_start"),
}


def film_of(inputs: Json) -> tuple[Film, float]:
    """What an output node is to save, and its frame rate."""
    if "video" in inputs:
        film, fps = inputs["video"]
        return film, fps
    return inputs["images"], inputs["frame_rate"]


def ancestors(graph: Json, outputs: list[str]) -> Iterator[str]:
    """Every node that some output needs, in an order in which they can run."""
    seen: set[str] = set()
    for output in outputs:
        for node_id in in_order(graph, output):
            if node_id not in seen:
                seen.add(node_id)
                yield node_id
