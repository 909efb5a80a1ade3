"""From a request to the graph that is queued: preset, sizes, steps, models, LoRAs, own settings."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from video import geometry, graphs, models
from video.graphs import Workflow
from video.images import Picture
from video.request import FPS, OVERRIDES, ModelFile, Request

Json = dict[str, Any]
_FRAMES = 81
# What WanVideoWrapper reads in a prompt that other nodes do not (workloads.md §4.3).
_SPECIAL = re.compile(r"\||\[\d+\]|\([^()]+:\d+(\.\d+)?\)")


@dataclass
class Built:
    """The graph, what was decided (for metrics and receipt), and what is worth saying."""

    workflow: Workflow
    facts: Json = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def build(request: Request, start: Picture | None, job_id: str, *, has_end: bool) -> Built:
    """Raises Failure(bad_input, unsupported) for what this workflow cannot do."""
    workflow = _workflow(request, has_end)
    built = Built(workflow)
    preset_name, preset = workflow.preset(request.preset)
    built.facts |= {"preset": preset_name} if preset_name else {}
    _apply_preset(built, request, preset)
    _put_words(built, request)
    _put_geometry(built, request, start)
    _put(built, "seed", request.seed)
    built.facts["seed"] = request.seed
    if request.context_overlap is not None:
        _put(built, "context_overlap", request.context_overlap)
    for name, file in request.overrides.items():
        _put(built, name, _name_of(file, OVERRIDES[name]))
    for side in ("high", "low"):
        workflow.add_loras(side, _loras(request, side))
    # Its own file name: another job's result is never replaced, nor taken for this one's.
    workflow.put("file_prefix", f"gpuctl/{job_id}")
    for target, value in request.sets.items():
        workflow.set(target, value)
    _state_what_stands(built)
    return built


def _workflow(request: Request, has_end: bool) -> Workflow:
    if isinstance(request.workflow, dict):
        return graphs.of("its own workflow", request.workflow, request.map)
    return graphs.named(request.workflow, has_end=has_end)


def _apply_preset(built: Built, request: Request, preset: Json) -> None:
    """The preset's numbers, with the operator's in their place. The split keeps its share."""
    workflow = built.workflow
    workflow.without(preset.get("without", ()))
    numbers = {key: value for key, value in preset.items() if key != "without"}
    steps = numbers.get("steps") or workflow.value("steps")
    split = numbers.get("split") or workflow.value("split")
    if request.steps is not None:
        numbers["steps"] = request.steps
        if steps and split:
            share = int(request.steps * split / steps + 0.5)
            numbers["split"] = min(max(1, share), max(1, request.steps - 1))
        if not workflow.accepts("steps"):
            built.notes.append("this workflow has no steps that are known; --set NODE.INPUT=VALUE")
    if request.cfg is not None:
        _set_cfg(built, numbers, request.cfg)
    for parameter, value in numbers.items():
        workflow.put(parameter, value)
    if request.negative_prompt and workflow.value("cfg_low") == 1.0 == workflow.value("cfg"):
        built.notes.append("the negative prompt has no effect at cfg 1.0; --preset quality uses it")


def _set_cfg(built: Built, numbers: Json, cfg: float) -> None:
    """Where the low-noise side runs on Lightning, its own cfg of 1.0 stays."""
    keeps_low = "cfg_low" in numbers and "cfg_high" in numbers
    numbers["cfg_high" if keeps_low else "cfg"] = cfg
    if keeps_low:
        built.notes.append(f"cfg {cfg:g} is for the high-noise half; the other keeps 1.0")
    elif cfg != 1.0 and numbers.get("steps") == 4:
        built.notes.append("the 4-step LoRAs were made for cfg 1.0; anything else doubles the work")


def _put_words(built: Built, request: Request) -> None:
    if request.prompt:
        _put(built, "prompt", request.prompt)
    if request.negative_prompt:
        _put(built, "negative_prompt", request.negative_prompt)
    syntax = built.workflow.map.get("prompt_syntax")
    found = _SPECIAL.search(request.prompt)
    if syntax and found:
        built.notes.append(f"{syntax} reads {found.group()!r} in the prompt as a command")


def _put_geometry(built: Built, request: Request, start: Picture | None) -> None:
    """As asked; else for the default workflows the picture's proportion at 480p."""
    is_own = isinstance(request.workflow, dict)
    width, height, frames = request.width, request.height, request.frames
    if width is None and not is_own and start is not None:
        width, height = geometry.fitted((start.width, start.height), geometry.AREAS["480p"])
    if frames is None and not is_own:
        frames = _FRAMES
    for parameter, value in (("width", width), ("height", height), ("frames", frames)):
        if value is not None:
            _put(built, parameter, value)


def _put(built: Built, parameter: str, value: Any) -> None:
    if not built.workflow.put(parameter, value):
        built.notes.append(
            f"{built.workflow.name} has no input that is known to be its "
            f"{parameter.replace('_', ' ')}; --set NODE.INPUT=VALUE writes one"
        )


def _name_of(file: ModelFile, folder: str) -> str:
    return models.from_url(folder, file.url) if file.url else str(file.name)


def _loras(request: Request, side: str) -> list[tuple[str, float]]:
    found = []
    for pair in request.loras:
        file = pair.high if side == "high" else pair.low
        weight = pair.high_weight if side == "high" else pair.low_weight
        if file.name or file.url:
            found.append((_name_of(file, "loras"), weight))
    return found


def _state_what_stands(built: Built) -> None:
    """What the graph really says after every setting, for metrics and receipt."""
    workflow = built.workflow
    for name in ("width", "height", "frames", "steps", "split"):
        value = workflow.value(name)
        if isinstance(value, int):
            built.facts[name] = value
    for name in ("cfg", "cfg_low", "fps"):
        value = workflow.value(name)
        if isinstance(value, int | float):
            built.facts[name] = value
    built.facts.setdefault("fps", workflow.map.get("fps", FPS))
    files = sorted({file for _, _, file in workflow.files()})
    built.facts["model"] = {"name": workflow.map.get("title") or workflow.name, "files": files}
