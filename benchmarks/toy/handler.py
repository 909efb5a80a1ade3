"""A flux worker whose model is a clock: waits as long as it is told and gives the same picture.

The benchmark puts it in the place of remote_scripts/flux in a copy of this program, with toy.json
beside it: inference_s, load_s, picture (a path).
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

from worker import report

STEPS = 4
_TOY = json.loads(Path(__file__).with_name("toy.json").read_text())
_LOADED: list[str] = []


def handler(job: dict[str, Any]) -> dict[str, Any]:
    """One picture per count, each after inference_s; the first job of a process loads."""
    given = job["input"]
    load_s = 0.0 if _LOADED else _TOY["load_s"]
    time.sleep(load_s)
    _LOADED.append("loaded")
    for index in range(given["count"]):
        for step in range(STEPS):
            time.sleep(_TOY["inference_s"] / STEPS)
            report.progress("denoise", step + 1, STEPS)
        seed = given["seed"] + index
        with report.write_artifact(f"{seed}.png", "image/png", seed=seed, index=index) as part:
            shutil.copyfile(_TOY["picture"], part)
    return {"load_s": load_s, "seeds": [given["seed"]]}


def needs_venv(_given: dict[str, Any]) -> bool:
    return False


def unload() -> None:
    _LOADED.clear()
