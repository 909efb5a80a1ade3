"""Entry on the GPU machine: `python3 -B run.py VERB …` (docs/worker.md)."""

from __future__ import annotations

import sys
from importlib import import_module

# Verb → module. Only the one that is needed is imported: this is on the path of every picture.
VERBS = {
    "submit": "worker.verbs",
    "attach": "worker.verbs",
    "cancel": "worker.verbs",
    "stop": "worker.verbs",
    "status": "worker.inspection",
    "jobs": "worker.inspection",
    "selfcheck": "worker.inspection",
    "daemon": "worker.daemon",
    "engine": "worker.engine",
    "serverless": "worker.serverless",
}


def main(argv: list[str]) -> int:
    """Runs one verb. Exit codes: 0 ok, 1 the job failed, 2 usage, 3 not found."""
    if not argv or argv[0] not in VERBS:
        sys.stderr.write(f"usage: run.py {{{'|'.join(VERBS)}}} …\n")
        return 2
    code: int = import_module(VERBS[argv[0]]).main(argv[0], argv[1:])
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
