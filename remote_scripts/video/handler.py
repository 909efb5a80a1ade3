"""A video job from its input to finished files: the picture, the graph, ComfyUI, the result."""

from __future__ import annotations

import importlib.util
import json
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from video import comfy_client, images, preflight, results, sim_launch, starting
from video.building import Built, build
from video.comfy_client import Comfy, Missing, Rejected, Unreachable
from video.comfy_watch import Watch
from video.request import Request, parse, unknown_keys
from video.responses import seed_response
from worker import report
from worker.layout import write_whole
from worker.report import Failure

Json = dict[str, Any]
REQUIREMENTS = "requirements.txt"
STARTING_POLL_S = 2.0
_PACKAGES = ("fastapi", "uvicorn", "websockets")
_TOLD = ("seed", "width", "height", "frames", "fps")


def handler(job: dict[str, Any]) -> dict[str, Any]:
    """Runs one job; the metrics are the result, the videos are artifacts.

    Raises report.Failure for everything that has a remedy, and report.Cancelled.
    """
    document = job.get("input")
    request = parse(document)
    if isinstance(document, dict) and (ignored := unknown_keys(document)):
        report.log(f"not known and ignored: {', '.join(ignored)}", "warning")
    for note in request.notes:
        report.log(note)
    started = time.monotonic()
    start, end = _pictures(request)
    comfy = _ready_comfy()
    built = build(request, start, str(job["id"]), has_end=end is not None)
    for note in built.notes:
        report.log(note)
    _upload(comfy, built, start, end)
    preflight.check(comfy, built.workflow.graph, fetch_missing=_may_fetch())
    prepared = time.monotonic()
    entry = _run(comfy, built)
    made = time.monotonic()
    files = _bring(comfy, entry, built)
    metrics = {
        "engine": _engine_name(comfy),
        "workflow": built.workflow.name,
        "gpu": comfy.device(),
        "load_s": round(prepared - started, 3),
        "inference_s": round(made - prepared, 3),
        "files": files,
        **built.facts,
    }
    response = seed_response(document, report.output_dir())
    return {**metrics, "response": response} if response else metrics


def needs_venv(given: dict[str, Any]) -> bool:  # noqa: ARG001 - the worker's signature
    """Whether REQUIREMENTS have to be installed: not where what the handler needs is here."""
    return any(importlib.util.find_spec(name) is None for name in _PACKAGES)


def unload() -> None:
    """Frees the GPU; the next job loads again."""
    with suppress(Failure, Unreachable, Missing, Rejected):
        if not sim_launch.is_wanted():
            Comfy(*comfy_client.address()).free()


def _pictures(request: Request) -> tuple[images.Picture | None, images.Picture | None]:
    start = images.load(request.image, "the image") if request.image else None
    end = images.load(request.end_image, "the end image") if request.end_image else None
    return start, end


def _ready_comfy() -> Comfy:
    """The server, seen to answer; one that its image still starts is waited for.

    Raises Failure(worker_died), Cancelled.
    """
    if sim_launch.is_wanted():
        report.loading("comfyui", "simulated: no model and no GPU")
        return sim_launch.ensured(report.workspace())
    comfy = Comfy(*comfy_client.address())
    while True:
        try:
            comfy.stats()
        except Unreachable as error:
            stage = starting.stage(report.workspace())
            if stage is None:
                reason = starting.failure(report.workspace()) or error
                raise comfy_client.unreachable(comfy.where, reason) from error
            report.loading("comfyui", stage)
            report.check_cancelled()
            time.sleep(STARTING_POLL_S)
        else:
            return comfy


def _upload(
    comfy: Comfy, built: Built, start: images.Picture | None, end: images.Picture | None
) -> None:
    """Paths in the machine's folders are refused by newer servers: pictures are handed over."""
    try:
        for parameter, picture in (("image", start), ("end_image", end)):
            if picture is not None:
                report.progress("upload", 0, 1)
                name = comfy.upload(picture.name, picture.content)
                if not built.workflow.put(parameter, name):
                    what = parameter.replace("_", " ")
                    report.log(f"{built.workflow.name} has no place for the {what}", "warning")
    except Unreachable as error:
        raise comfy_client.unreachable(comfy.where, error) from error


def _run(comfy: Comfy, built: Built) -> Json:
    # A fresh one for each attempt: an earlier one of this job may still be in the history.
    prompt_id = str(uuid.uuid4())
    graph = built.workflow.graph
    with report.disk_full_named():
        path = report.output_dir().parent / "graph.json"
        write_whole(str(path), json.dumps(graph, indent=1).encode())
    with _alone(comfy, prompt_id):
        watch = Watch(
            comfy,
            graph,
            prompt_id,
            client_id=prompt_id.replace("-", ""),
            planned_steps=int(built.facts.get("steps") or 0),
        )
        return watch.run()


@contextmanager
def _alone(comfy: Comfy, prompt_id: str) -> Iterator[None]:
    """A prompt whose engine was killed still has the GPU: the next job ends it, and only it."""
    note = Path(report.workspace()) / "run/video.prompt"
    note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if note.exists():
        with suppress(Unreachable, Missing, Rejected):
            comfy.cancel(note.read_text(encoding="utf-8").strip())
    with report.disk_full_named():
        note.write_text(prompt_id, encoding="utf-8")
    try:
        yield
    finally:
        note.unlink(missing_ok=True)


def _bring(comfy: Comfy, entry: Json, built: Built) -> int:
    found = results.entries(entry.get("outputs") or {})
    if not found:
        raise Failure(
            "failed",
            "the workflow ended without a video or a picture",
            "it needs a node that saves, such as SaveVideo; gpuctl video validate FILE",
        )
    facts = built.facts
    fields: Json = {name: facts[name] for name in _TOLD if name in facts}
    for index, row in enumerate(found):
        name = f"{facts['seed']}-{index}{results.suffix_of(row)}"
        results.bring(comfy, row, name, {**fields, "index": index})
    return len(found)


def _engine_name(comfy: Comfy) -> str:
    return "sim" if sim_launch.is_wanted() else f"comfyui {comfy.version()}"


def _may_fetch() -> bool:
    """On a machine whose volume nobody filled yet; the simulated server lacks nothing."""
    is_local = comfy_client.address()[0] in ("127.0.0.1", "localhost")
    return is_local and os.environ.get("GPUCTL_ENGINE") != "sim"
