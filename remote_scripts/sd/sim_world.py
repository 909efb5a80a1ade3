"""What the stand-in remembers: options, progress, the queue lock, and the faults that wait."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sd import sim_catalogue, sim_paint

Json = dict[str, Any]
Painter = Callable[..., Any]
POLL_S = 0.02


class ApiError(Exception):
    """An answer that is not a result, in A1111's shape: {error, detail, body, errors}."""

    def __init__(self, status: int, detail: object = "", errors: str = "", error: str = "") -> None:
        super().__init__(str(detail))
        self.status = status
        self.body: Json = {
            "error": error or ("HTTPException" if not errors else "RuntimeError"),
            "detail": detail,
            "body": "",
            "errors": errors,
        }


@dataclass
class Progress:
    """What GET progress shows. Zero jobs = idle."""

    job_count: int = 0
    job_no: int = 0
    step: int = 0
    steps: int = 0
    started: float = 0.0
    interrupted: bool = False
    skipped: bool = False
    task: str | None = None
    preview: Any = None


@dataclass
class World:
    """One WebUI. `flavour`: 1.9, 1.10, forge, sdnext, or old (before schedulers had a list)."""

    flavour: str = "1.9"
    paint: Painter = sim_paint.paint
    step_s: float = field(default_factory=lambda: seconds("GPUCTL_SIM_STEP_S"))
    load_s: float = field(default_factory=lambda: seconds("GPUCTL_SIM_LOAD_S"))
    options: Json = field(default_factory=lambda: {**sim_catalogue.OPTIONS})
    faults: Json = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)
    # A1111 runs one request at a time; the others wait here.
    queue_lock: threading.Lock = field(default_factory=threading.Lock)
    loaded: str = sim_catalogue.CHECKPOINTS[0]
    auth: str | None = None

    def __post_init__(self) -> None:
        first = sim_catalogue.checkpoints()[0]
        self.options["sd_model_checkpoint"] = first["title"]

    @property
    def version(self) -> str:
        known = {"1.9": "v1.9.3", "1.10": "v1.10.1", "forge": "f2.0.1v1.10.1", "old": "v1.6.0"}
        return known.get(self.flavour, self.flavour)

    def begin(self, jobs: int, steps: int, task: str | None) -> None:
        self.progress = Progress(jobs, 0, 0, steps, time.time(), task=task)

    def end(self) -> None:
        self.progress = Progress()

    def interrupt(self) -> None:
        self.progress.interrupted = True

    def step(self, number: int) -> bool:
        """One pretended step; False when sampling was interrupted. May crash, if so asked."""
        fault = self.faults
        if fault.get("crash_at_step") == number:
            os._exit(134)
        deadline = time.monotonic() + (fault.get("step_s") or self.step_s)
        while (left := deadline - time.monotonic()) > 0 and not self.progress.interrupted:
            time.sleep(min(left, POLL_S))
        self.progress.step = number
        return not self.progress.interrupted

    def load(self, name: str) -> None:
        """Switches the checkpoint, which takes a while."""
        if name != self.loaded:
            time.sleep(self.load_s)
            self.loaded = name

    def set_options(self, changes: Json) -> None:
        """POST options. An unknown key or checkpoint is an error; a restricted key is dropped."""
        wanted = changes.get("sd_model_checkpoint")
        if wanted is not None and sim_catalogue.checkpoint(wanted) is None:
            raise ApiError(500, "", f"model {wanted!r} not found", "RuntimeError")
        for key, value in changes.items():
            if key not in self.options:
                raise ApiError(500, "", repr(key), "KeyError")
            if key in sim_catalogue.RESTRICTED:
                continue
            if key == "sd_model_checkpoint":
                name = sim_catalogue.checkpoint(value) or self.loaded
                self.load(name)
                value = next(
                    item["title"]
                    for item in sim_catalogue.checkpoints()
                    if item["model_name"] == name
                )
            self.options[key] = value


def seconds(name: str) -> float:
    """Seconds from the environment; 0 when there are none."""
    try:
        return max(0.0, float(os.environ.get(name, "0")))
    except ValueError:
        return 0.0
