"""The simulated engine: no model and no GPU, a labelled landscape made from prompt and seed."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from typing import Any

from flux import pictures, sim_label, sim_palette, sim_scene
from flux.request import Request
from worker import report

Picture = Any
_resident: list[tuple[str, str | None, str]] = []


class SimEngine:
    """Takes the time that the environment says, then paints with Pillow."""

    name = "sim"

    def load(self, request: Request) -> float:
        """Seconds of pretended loading (GPUCTL_SIM_LOAD_S), once per process and model."""
        model = request.model
        key = (model.repo, model.revision, model.pipeline)
        if _resident == [key]:
            return 0.0
        report.loading("model", f"simulated: pretending to load {model.title}")
        started = time.monotonic()
        _sleep(_seconds("GPUCTL_SIM_LOAD_S"))
        _resident[:] = [key]
        return time.monotonic() - started

    def paint(self, request: Request, index: int) -> Picture:
        """Image `index` of the request, after as many pretended steps as the real thing takes."""
        report.progress("encode", 0, 1)
        steps = request.planned_steps
        pause = _seconds("GPUCTL_SIM_STEP_S")
        for step in range(steps):
            _sleep(pause)
            report.progress("denoise", step + 1, steps)
        report.progress("decode", 0, 1)
        return _picture(request, request.seed + index)

    def facts(self, request: Request) -> dict[str, Any]:
        """What the metrics say about a machine that did nothing."""
        return {
            "gpu": f"simulated {_gpu_name()}".strip(),
            "peak_vram_bytes": 0,
            "revision": request.model.revision or "simulated",
        }


def _picture(request: Request, seed: int) -> Picture:
    model, size = request.model, (request.width, request.height)
    key = f"{request.prompt}|{seed}|{size}|{model.name}|{request.steps}"
    chance = random.Random(key)
    scene = sim_palette.scene(request.prompt, seed, model.name)
    detail = 3 + (request.steps > 4) + (request.steps > 20)
    canvas = sim_scene.paint(scene, size, chance, detail)
    canvas = sim_scene.finish(canvas, chance, request.guidance)
    if request.init_image:
        canvas = _blend(pictures.open_initial(request), canvas, request.strength)
    label = f"SIMULATED · {model.title} · seed {seed} · no GPU was used"
    sim_label.stamp(canvas, label, request.prompt)
    return canvas


def _blend(initial: Picture, canvas: Picture, strength: float) -> Picture:
    from PIL import Image

    return Image.blend(initial, canvas, strength)


def _gpu_name() -> str:
    """The card that `nvidia-smi -L` names, without its UUID; empty when there is none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    try:
        answer = subprocess.run(
            [program, "-L"], capture_output=True, text=True, timeout=5, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
    first = answer.partition("\n")[0]
    return first.partition(": ")[2].partition(" (")[0].strip()


def _seconds(name: str) -> float:
    try:
        return max(0.0, float(os.environ.get(name, "0")))
    except ValueError:
        return 0.0


def _sleep(seconds: float) -> None:
    """Waits in small pieces, so that a cancelled job stops at once."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        report.check_cancelled()
        time.sleep(min(left, 0.05))
