"""A flux worker whose model is a clock: waits as long as it is told and gives the same picture.

The benchmark puts it in the place of remote_scripts/flux in a copy of this program, with toy.json
beside it: inference_s, load_s, steps, picture and stamps (paths). `stamps` gets the moment of each
step on the clock that every process of a machine shares; the last one is when inference was done.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

from worker import report

_TOY = json.loads(Path(__file__).with_name("toy.json").read_text())
_LOADED: list[str] = []


def handler(job: dict[str, Any]) -> dict[str, Any]:
    """One picture per count, each after inference_s; the first job of a process loads."""
    given = job["input"]
    load_s = 0.0 if _LOADED else _TOY["load_s"]
    time.sleep(load_s)
    _LOADED.append("loaded")
    for index in range(given["count"]):
        _infer()
        seed = given["seed"] + index
        with report.write_artifact(f"{seed}.png", "image/png", seed=seed, index=index) as part:
            shutil.copyfile(_TOY["picture"], part)
    return {"load_s": load_s, "seeds": [given["seed"]]}


def _infer() -> None:
    steps, stamps = _TOY["steps"], []
    for step in range(steps):
        time.sleep(_TOY["inference_s"] / steps)
        stamps.append(time.monotonic())
        report.progress("denoise", step + 1, steps)
    Path(_TOY["stamps"]).write_text(json.dumps(stamps))


def needs_venv(_given: dict[str, Any]) -> bool:
    return False


def unload() -> None:
    _LOADED.clear()
