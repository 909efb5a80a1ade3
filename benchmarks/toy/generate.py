"""What the older way ran for every picture: `python generate.py TOY.JSON PROMPT FILE`."""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path

_TOY = json.loads(Path(sys.argv[1]).read_text())

time.sleep(_TOY["load_s"])
stamps = []
for step in range(_TOY["steps"]):
    time.sleep(_TOY["inference_s"] / _TOY["steps"])
    stamps.append(time.monotonic())
    print(f"{sys.argv[2]}: step {step + 1} of {_TOY['steps']}", flush=True)
Path(_TOY["stamps"]).write_text(json.dumps(stamps))
shutil.copyfile(_TOY["picture"], sys.argv[3])
