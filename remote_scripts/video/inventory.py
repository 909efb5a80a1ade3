"""What a person asks the service: ComfyUI's health, models, workflows, and is a graph sound."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from video import comfy_client, downloads, graphs, models, preflight, sim_launch, starting
from video.building import build
from video.comfy_client import Comfy, Missing, Unreachable
from video.request import parse
from worker.layout import is_id
from worker.report import Failure

Json = dict[str, Any]


def server(workspace: Path) -> Comfy | None:
    """The ComfyUI of this machine, whether it answers or not; None: the simulated one is not up."""
    if sim_launch.is_wanted():
        return sim_launch.running(workspace)
    return Comfy(*comfy_client.address())


def comfyui(workspace: Path) -> Json:
    """Whether ComfyUI answers, its version and its GPU, or the reason."""
    comfy = server(workspace)
    if comfy is None:
        return {"reachable": False, "reason": "the simulated ComfyUI has not started"}
    reason = starting.stage(workspace) or starting.failure(workspace)
    try:
        return {"reachable": True, "version": comfy.version(), "device": comfy.device()}
    except Unreachable as error:
        return {"reachable": False, "reason": reason or f"{comfy.where}: {error}"}


def models_() -> list[Json]:
    """Known models and what lies on the volume."""
    rows: list[Json] = []
    for known in models.catalogue().values():
        path = models.path_of(known.folder, known.name)
        problem = downloads.damage(path) if path.is_file() else None
        rows.append(
            {
                "name": known.name,
                "folder": known.folder,
                "gigabytes": known.gigabytes,
                "what": known.what,
                "url": known.url,
                "is_default": known.is_default,
                "is_here": path.is_file() and problem is None,
                "is_simulated": sim_launch.is_wanted(),
                "problem": problem,
            }
        )
    return rows + list(_others({row["name"] for row in rows}))


def models_document() -> Json:
    return {"volume": str(models.volume()), "models": models_()}


def workflows() -> Json:
    """Those of the default pair and those that lie in the folders, by name."""
    found: dict[str, Json] = {}
    for folder in graphs.folders():
        for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
            if path.name.endswith(".map.json") or not is_id(path.stem) or path.stem in found:
                continue
            found[path.stem] = _described(path)
    return {"workflows": [{"name": name, **row} for name, row in found.items()]}


def validated(given: Json, workspace: Path) -> Json:
    """The graph that would be queued, what its inputs are known to mean, and every problem."""
    has_picture = any(key.startswith("image") for key in given)
    request = parse(given if has_picture else {**given, "image_path": "picture"})
    built = build(request, None, "validation", has_end=request.end_image is not None)
    workflow, problems = built.workflow, []
    comfy = server(workspace)
    if comfy is None:
        problems.append("ComfyUI has not started yet: nodes and models could not be checked")
    else:
        try:
            problems = preflight.problems(comfy, workflow.graph)
        except (Unreachable, Missing) as error:
            problems.append(f"ComfyUI does not answer, so nothing could be checked: {error}")
    return {
        "workflow": workflow.name,
        "title": workflow.map.get("title"),
        "is_guess": bool(workflow.map.get("is_guess")),
        "nodes": len(workflow.graph),
        "parameters": {name: workflow.parameters[name] for name in workflow.parameters},
        "settable": list(_settable(workflow.graph)),
        "notes": built.notes,
        "problems": problems,
    }


def _described(path: Path) -> Json:
    try:
        graph = json.loads(path.read_text(encoding="utf-8"))
        workflow = graphs.of(path.stem, graph)
    except (OSError, ValueError, Failure) as error:
        return {"title": None, "problem": str(error), "presets": []}
    return {
        "title": workflow.map.get("title"),
        "presets": list(workflow.map.get("presets") or ()),
        "nodes": len(graph),
    }


def _others(known: set[str]) -> list[Json]:
    """Files on the volume that are not of the catalogue: the operator's own."""
    rows = []
    for folder, name in models.VOLUME_FOLDERS.items():
        root = models.volume() / name
        for path in sorted(root.rglob("*")) if root.is_dir() else ():
            if path.suffix in models.SUFFIXES and path.name not in known:
                size = round(path.stat().st_size / 1e9, 2)
                row = {"name": str(path.relative_to(root)), "folder": folder, "gigabytes": size}
                rows.append({**row, "what": "", "is_here": True, "problem": downloads.damage(path)})
    return rows


def _settable(graph: Json) -> list[str]:
    return [
        f"{node_id}.{name}={value!r}"
        for node_id, node in graph.items()
        for name, value in node.get("inputs", {}).items()
        if not isinstance(value, list)
    ]
