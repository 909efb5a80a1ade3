"""What the older way ran for every picture: `python generate.py TOY.JSON PROMPT FILE`."""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path

STEPS = 4
_TOY = json.loads(Path(sys.argv[1]).read_text())

time.sleep(_TOY["load_s"])
for step in range(STEPS):
    time.sleep(_TOY["inference_s"] / STEPS)
    print(f"{sys.argv[2]}: step {step + 1} of {STEPS}", flush=True)
shutil.copyfile(_TOY["picture"], sys.argv[3])
