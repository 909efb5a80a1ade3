"""Speaks to services: HTTP, AWS, Anthropic. Gets values, knows no settings."""

import sys
from typing import Any

# httpx imports its own command line with rich and pygments, which takes as long as all the rest of
# it. None in sys.modules makes that import fail at once, as if those were not installed.
_modules: dict[str, Any] = sys.modules
_modules.setdefault("httpx._main", None)
