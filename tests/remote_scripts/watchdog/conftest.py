"""The watchdog's modules, as they are on a machine: on the path by themselves."""

from __future__ import annotations

import sys
from pathlib import Path

REMOTE_SCRIPTS = Path(__file__).resolve().parents[3] / "remote_scripts"

if str(REMOTE_SCRIPTS) not in sys.path:
    sys.path.insert(0, str(REMOTE_SCRIPTS))
