"""A flux job from its input to finished pictures and metrics, with whichever engine is right."""

from __future__ import annotations

import os
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

from flux import pictures
from flux.request import Request, parse, unknown_keys
from worker import report
from worker.fields import bad_input

REQUIREMENTS = "requirements.txt"
# Used by quantised engines alone; its absence is named when one is asked for.
_ONLY_QUANTISED = "bitsandbytes"


class Engine(Protocol):
    """What paints: a real pipeline or its simulation."""

    @property
    def name(self) -> str:
        """The engine's name as it stands in the metrics: bf16, nf4, …, sim."""

    def load(self, request: Request) -> float:
        """Makes the model ready; seconds that took, 0 when it was resident."""

    def paint(self, request: Request, index: int) -> pictures.Picture:
        """Image `index`, made with `seed + index`."""

    def facts(self, request: Request) -> dict[str, Any]:
        """GPU, peak memory, revision, versions, token counts."""


def handler(job: dict[str, Any]) -> dict[str, Any]:
    """Runs one job; the metrics are the result, the pictures are artifacts.

    Raises report.Failure for everything that has a remedy, and report.Cancelled.
    """
    document = job.get("input")
    request = parse(document)
    if isinstance(document, dict) and (ignored := unknown_keys(document)):
        report.log(f"not known and ignored: {', '.join(ignored)}", "warning")
    _check_initial(request)
    engine = _engine()
    load_s = engine.load(request)
    started = time.monotonic()
    for index in range(request.count):
        report.check_cancelled()
        _write(engine.paint(request, index), request, index)
    inference_s = time.monotonic() - started
    return {
        "engine": engine.name,
        "model": request.model.repo,
        "load_s": round(load_s, 3),
        "inference_s": round(inference_s, 3),
        "images": request.count,
        "seeds": [request.seed + index for index in range(request.count)],
        **engine.facts(request),
    }


def needs_venv(given: dict[str, Any]) -> bool:  # noqa: ARG001 - the worker's signature
    """Whether REQUIREMENTS have to be installed: not for the simulation, nor when all are here."""
    if _is_simulated():
        return False
    lines = (Path(__file__).parent / REQUIREMENTS).read_text(encoding="utf-8").splitlines()
    pins = [line.partition("==") for line in lines if "==" in line and not line.startswith("#")]
    return any(_version(name) != pin for name, _, pin in pins if name != _ONLY_QUANTISED)


def unload() -> None:
    """Frees the GPU; the next job loads again."""
    if pipelines := sys.modules.get("flux.pipelines"):
        pipelines.unload()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _is_simulated() -> bool:
    return os.environ.get("GPUCTL_ENGINE") == "sim"


def _engine() -> Engine:
    if _is_simulated():
        from flux.sim_engine import SimEngine

        report.log("engine sim: the picture is painted without a model and without a GPU")
        return SimEngine()
    from flux.diffusers_engine import DiffusersEngine

    return DiffusersEngine()


def _check_initial(request: Request) -> None:
    """A missing initial image is found before minutes of loading, not after."""
    if request.init_image and not report.inside_workspace(request.init_image).is_file():
        raise bad_input(f"no initial image at {request.init_image}", "upload it before the job")


def _write(picture: pictures.Picture, request: Request, index: int) -> None:
    report.check_cancelled()
    seed = request.seed + index
    report.progress("save", 0, 1)
    with report.write_artifact(
        f"{seed}-{index}.{request.format}",
        pictures.MEDIA_TYPES[request.format],
        seed=seed,
        index=index,
        width=picture.width,
        height=picture.height,
    ) as part:
        pictures.save(picture, part, request.format, request.jpeg_quality)
