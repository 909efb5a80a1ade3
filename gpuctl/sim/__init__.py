"""The simulator: RunPod's API and its pods on this computer."""

import sys
from typing import Any

# paramiko tries to import `invoke` for a rare keyword of ssh_config: 50 ms of each start.
_modules: dict[str, Any] = sys.modules
_modules.setdefault("invoke", None)
